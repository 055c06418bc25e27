"""The classic von-network's answers: status, genesis, registration, ledgers as JSON and text."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from keep_network.json_shape import is_array, is_object
from keep_network.web.errors import BadRequestError, NotFoundError, UnavailableError
from keep_network.web.nodes import LEDGERS
from keep_network.web.registrar import parse_all
from keep_network.web.server import Server
from keep_network.web.store import Row
from keep_network.web.transactions import NAMES, NUMBERS, ROLES, Transaction, text

MOST_PER_PAGE = 1000
MOST_PAGE = 10**9
_TYPE = re.compile(r"[0-9]{1,6}")
_TEXT_STEP = 200


class Api:
    """Handlers that speak JSON and plain text."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def status(self, request: web.Request) -> web.Response:
        """`GET /status[?validators=1]`: never fails, so that scripts can wait on it."""
        told = self._server.status()
        if request.query.get("validators") and told["ready"] and not told["anonymous"]:
            await self._server.health.learn(self._server.connection.nodes)
            told["validators"] = self._server.health.validators()
        return answer(told)

    async def status_text(self, _request: web.Request) -> web.Response:
        """`GET /status/text`: what the nodes say about themselves, for people."""
        server = self._server
        await server.health.learn(server.connection.nodes)
        lines: list[str] = []
        for told in server.health.validators():
            lines += [str(told.get("Node_info", {}).get("Name", "?")), "", *_indented(told), ""]
        return web.Response(text="\n".join(lines))

    async def genesis(self, _request: web.Request) -> web.Response:
        """`GET /genesis`: once the network answers, so that whoever has it can use it."""
        genesis = self._server.connection.genesis
        if genesis is None:
            raise UnavailableError("Not ready")
        anywhere = {"Access-Control-Allow-Origin": "*"}
        return web.Response(text=genesis, headers=anywhere)

    async def register(self, request: web.Request) -> web.Response:
        """`POST /register`: one registration, or a list; answers when every live node has it."""
        told = _parse(await request.read())
        wanted = parse_all(told)
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        await self._server.register(wanted, token if kind.lower() == "bearer" else "")
        answers = [one.answer() for one in wanted]
        return answer(answers if isinstance(told, list) else answers[0])

    async def ledger(self, request: web.Request) -> web.Response:
        """`GET /ledger/{name}?page&page_size&query&type`."""
        number = ledger_number(request)
        page = number_of(request, "page", 1, range(MOST_PAGE + 1))
        size = number_of(request, "page_size", 100, range(1, MOST_PER_PAGE + 1))
        query, kind = request.query.get("query", "").strip(), type_number(request)
        store = await self._server.fresh()
        first = (page - 1) * size + 1
        begin, count = (first - 1, size) if page else (0, 0)  # classic: page 0 is empty
        rows, total = await asyncio.to_thread(
            store.search, number, query, kind, start=begin, count=count, newest=False
        )
        if not rows and page > 1:
            return answer({"detail": "Invalid page."}, 404)
        told = answer(
            {
                "total": total,
                "page_size": size,
                "page": page,
                "first_index": first,
                "last_index": first + len(rows) - 1,
                "results": [row.transaction() for row in rows],
            }
        )
        if rows:
            told.last_modified = datetime.fromtimestamp(max(row.added for row in rows), UTC)
        return told

    async def transaction(self, request: web.Request) -> web.Response:
        """`GET /ledger/{name}/{seqNo or txnId}`."""
        number = ledger_number(request)
        store = await self._server.fresh()
        row = await asyncio.to_thread(store.get, number, request.match_info["ident"])
        if row is None:
            raise NotFoundError("There is no such transaction.")
        return answer(row.transaction())

    async def ledger_text(self, request: web.Request) -> web.StreamResponse:
        """`GET /ledger/{name}/text`: the whole ledger, a few at a time."""
        number = ledger_number(request)
        store = await self._server.fresh()
        size = await asyncio.to_thread(store.size, number)
        told = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await told.prepare(request)
        async for rows in self._pieces(number, size):
            await told.write("\n\n".join(_text(row) for row in rows).encode() + b"\n\n")
        await told.write_eof()
        return told

    async def _pieces(self, ledger: int, size: int) -> AsyncIterator[list[Row]]:
        store = self._server.follower.copy()
        for first in range(1, size + 1, _TEXT_STEP):
            last = min(size, first + _TEXT_STEP - 1)
            yield await asyncio.to_thread(store.range, ledger, first, last)


def answer(told: Any, status: int = 200) -> web.Response:
    """Return JSON that any page may read."""
    return web.json_response(
        text=json.dumps(told, indent=2, sort_keys=True),
        status=status,
        headers={"Access-Control-Allow-Origin": "*"},
    )


def ledger_number(request: web.Request) -> int:
    """Return the ledger that a path names: `domain`, `DOMAIN` or `1`.

    Raises:
        NotFoundError: there is none of that name.
    """
    told = request.match_info["name"].lower()
    for name, number in LEDGERS.items():
        if told in {name, str(number)}:
            return number
    raise NotFoundError("The ledgers are domain, pool and config.")


def number_of(request: web.Request, name: str, default: int, sensible: range) -> int:
    """Return a number of the query.

    Raises:
        BadRequestError: it is none, or not a sensible one.
    """
    told = request.query.get(name, "").strip() or str(default)
    if not (told.isascii() and told.isdecimal() and len(told) <= 10):  # noqa: PLR2004 - 10**9
        raise BadRequestError(f"{name} must be a number.")
    if int(told) not in sensible:
        raise BadRequestError(f"{name} must be from {sensible[0]} to {sensible[-1]}.")
    return int(told)


def type_number(request: web.Request) -> str:
    """Return the number of the transaction type that a query names, empty for any.

    Raises:
        BadRequestError: there is no such type.
    """
    told = request.query.get("type", "").strip()
    if not told or _TYPE.fullmatch(told):
        return told
    if told.upper() not in NUMBERS:
        raise BadRequestError(f"type must be a number or one of {', '.join(NAMES.values())}.")
    return NUMBERS[told.upper()]


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("Expected json request body") from None


def _text(row: Row) -> str:
    txn = Transaction(row.transaction())
    nym = txn.data if txn.name == "NYM" else {}
    role = text(nym.get("role"))
    facts = {
        "FROM": txn.author,
        "ENDORSER": txn.endorser,
        "DEST": text(nym.get("dest")),
        "ROLE": ROLES.get(role, role).upper(),
        "VERKEY": text(nym.get("verkey")),
        "ALIAS": text(nym.get("alias")),
        "TIME": f"{datetime.fromtimestamp(row.time, UTC):%Y-%m-%d %H:%M:%S}"
        if row.time
        else "",
        "REQ ID": txn.request,
        "TXN ID": txn.id,
    }
    lines = [f"[{row.seq}]  TYPE: {txn.name}"]
    lines += [f"{name}: {value}" for name, value in facts.items() if value]
    if not nym:
        lines += ["DATA:", json.dumps(txn.data, indent=4, ensure_ascii=False)]
    return "\n".join(lines)


def _indented(value: Any, depth: int = 0) -> list[str]:
    """Write JSON as YAML does, without its quoting subtleties: strings stay JSON strings."""
    pad = "  " * depth
    if is_object(value) and value:
        lines: list[str] = []
        for key in sorted(value, key=str):
            below = _indented(value[key], depth + 1)
            flat = len(below) == 1 and not isinstance(value[key], dict | list)
            lines += [f"{pad}{key}: {below[0].strip()}"] if flat else [f"{pad}{key}:", *below]
        return lines
    if is_array(value) and value:
        return [f"{pad}- {json.dumps(one, ensure_ascii=False)}" for one in value]
    return [pad + json.dumps(value, ensure_ascii=False)]
