"""The pages for people: rendered here, kept current by a small script where there is one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import string
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import segno
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from keep_network.json_shape import array_of
from keep_network.web import keys, network, proof, rules
from keep_network.web.api import ledger_number, number_of, type_number
from keep_network.web.cards import Card, Teller, did
from keep_network.web.errors import BadRequestError, NotFoundError, WebError
from keep_network.web.nodes import DOMAIN, LEDGERS
from keep_network.web.registrar import ROLES, Registration
from keep_network.web.server import Server
from keep_network.web.store import Row, Store
from keep_network.web.transactions import NAMES, mapping, text

_TEMPLATES = Path(__file__).parent / "templates"
_PER_PAGE, _AT_HOME, _FOUND, _ANCHORED = 25, 6, 25, 50
_BEAT_S = 15
_FILTERS = {
    "domain": ("1", "100", "101", "102", "113", "114"),
    "pool": ("0",),
    "config": ("120", "122", "4", "5", "8", "109", "111"),
}


class Pages:
    """Handlers that speak HTML."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["moment"] = _moment

    def routes(self) -> list[web.RouteDef]:
        """Return where the pages are: those about the nodes, and to browse the ledger unless that is off."""
        nodes = [
            web.get("/", self.home),
            web.get("/events", self.events),
            web.get("/favicon.ico", self.icon),
            web.get("/register", self.form),
        ]
        if not self._server.settings.browse:
            return nodes
        return [
            *nodes,
            web.get("/browse/{name}", self.ledger),
            web.get("/browse/{name}/{ident}", self.transaction),
            web.get("/did/{did}", self.did),
            web.get("/search", self.search),
            web.get("/rules", self.rules),
            web.get("/agreement", self.agreement),
        ]

    def wanted(self, request: web.Request) -> bool:
        """Say whether whoever asks is a person with a browser."""
        return "text/html" in request.headers.get("Accept", "")

    def sorry(self, status: int, why: str) -> web.Response:
        """Return a page that says what is wrong."""
        title = HTTPStatus(status).phrase
        return self._page("error.html", title=title, why=why, code=status, status=status)

    async def home(self, _request: web.Request) -> web.Response:
        """`GET /`."""
        server = self._server
        cards: list[Card] = []
        sizes: dict[str, int] = {}
        if server.connection.open is not None:
            await server.health.learn(server.connection.open, 5)
        if server.connection.open is not None and server.settings.shows:
            with contextlib.suppress(WebError):
                cards, sizes = await self._latest(await server.fresh())
        view = network.overview(server.health.pulses, server.health.info)
        return self._page("home.html", view=view, cards=cards, sizes=sizes)

    async def ledger(self, request: web.Request) -> web.Response:
        """`GET /browse/{name}?page&query&type`: newest first."""
        number, kind = ledger_number(request), type_number(request)
        page = number_of(request, "page", 1, range(1, 10**7))
        query = request.query.get("query", "").strip()[:200]
        store = await self._server.fresh()
        start = (page - 1) * _PER_PAGE
        rows, total = await asyncio.to_thread(
            store.search, number, query, kind, start=start, count=_PER_PAGE, newest=True
        )
        if not rows and page > 1:
            raise NotFoundError("There is no such page of this ledger.")
        name = next(one for one in LEDGERS if LEDGERS[one] == number)

        def link(to: int) -> str:
            return "?" + urlencode({"page": to, "query": query, "type": kind})

        return self._page(
            "ledger.html",
            name=name,
            cards=await self._cards(store, rows),
            total=total,
            page=page,
            pages=max(1, -(-total // _PER_PAGE)),
            query=query,
            kind=kind,
            kinds=[(one, NAMES[one]) for one in _FILTERS[name]],
            link=link,
        )

    async def transaction(self, request: web.Request) -> web.Response:
        """`GET /browse/{name}/{seqNo or txnId}`."""
        number = ledger_number(request)
        store = await self._server.fresh()
        ident = request.match_info["ident"]
        row = await asyncio.to_thread(store.get, number, ident)
        if row is None:
            raise NotFoundError("There is no such transaction in this ledger.")
        size = await asyncio.to_thread(store.size, number)
        return self._page(
            "transaction.html",
            card=(await self._cards(store, [row]))[0],
            steps=await proof.prove(self._server.connection.nodes, row),
            raw=json.dumps(row.transaction(), indent=2, ensure_ascii=False),
            id=row.id,
            size=size,
        )

    async def did(self, request: web.Request) -> web.Response:
        """`GET /did/{did}`: what the ledger knows of a DID, and all that it anchored."""
        name = request.match_info["did"]
        store = await self._server.fresh()
        history = await asyncio.to_thread(store.about, name, "1", 100)
        anchored, total = await asyncio.to_thread(store.by, name, _ANCHORED)
        if not history and not anchored:
            raise NotFoundError("The ledger does not know this DID.")
        state = _state(history)
        return self._page(
            "did.html",
            did=name,
            state=state,
            endpoint=await self._endpoint(name),
            qr=_qr(f"did:sov:{name}"),
            history=await self._cards(store, history[::-1]),
            anchored=await self._cards(store, anchored),
            total=total,
        )

    async def search(self, request: web.Request) -> web.Response:
        """`GET /search?q=`: a DID, a schema's name, an id, anything that was written."""
        query = request.query.get("q", "").strip()[:200]
        bare = query.rpartition(":")[2] if query.startswith("did:") else query
        found: dict[str, tuple[list[Card], int]] = {}
        known = None
        if query:
            store = await self._server.fresh()
            rows = await asyncio.to_thread(store.find, bare) if keys.is_did(bare) else []
            if rows:
                known = did(bare)
            for name, number in LEDGERS.items():
                rows, total = await asyncio.to_thread(
                    store.search, number, bare, "", start=0, count=_FOUND, newest=True
                )
                if rows:
                    found[name] = (await self._cards(store, rows), total)
        return self._page("search.html", query=query, bare=bare, known=known, found=found)

    async def rules(self, _request: web.Request) -> web.Response:
        """`GET /rules`."""
        answer = await self._server.connection.nodes.read({"type": "121"})
        return self._page("rules.html", topics=rules.read(array_of(answer.get("data"))))

    async def agreement(self, _request: web.Request) -> web.Response:
        """`GET /agreement`: the transaction author agreement and the ways to accept it."""
        nodes = self._server.connection.nodes
        told, ways = await asyncio.gather(nodes.read({"type": "6"}), nodes.read({"type": "7"}))
        agreement, mechanisms = mapping(told.get("data")), mapping(ways.get("data"))
        ratified = agreement.get("ratification_ts")
        return self._page(
            "agreement.html",
            agreement=agreement,
            ratified=datetime.fromtimestamp(ratified, UTC)
            if isinstance(ratified, int)
            else None,
            ways={key: text(value) for key, value in mapping(mechanisms.get("aml")).items()},
            version=text(mechanisms.get("version")),
        )

    async def form(self, _request: web.Request) -> web.Response:
        """`GET /register`."""
        return self._page("register.html", told={}, why="", roles=_role_choices())

    async def registered(self, request: web.Request) -> web.Response:
        """`POST /register` of the form: the result, or the form again with what is wrong."""
        try:
            sent = await request.post()
        except (LookupError, ValueError):
            raise BadRequestError("This server does not know this form.") from None
        told = {key: str(value).strip() for key, value in sent.items()}
        filled: dict[str, Any] = {k: v for k, v in told.items() if v or k == "role"}
        if not (filled.get("seed") or filled.get("did") or filled.get("verkey")):
            letters = string.ascii_letters + string.digits
            filled["seed"] = "".join(secrets.choice(letters) for _ in range(keys.SEED_BYTES))
        try:
            one = Registration.parse(filled)
            await self._server.register([one], told.get("token", ""))
        except WebError as error:
            return self._page(
                "register.html",
                told=told,
                why=str(error),
                roles=_role_choices(),
                status=error.status,
            )
        qr = _qr(json.dumps({"did": one.did, "verkey": one.verkey}))
        return self._page("registered.html", one=one, ref=did(one.did), qr=qr)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """`GET /events`: server-sent events `ledger` and `nodes`."""
        with self._server.events.listening() as listener:
            kind = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
            stream = web.StreamResponse(headers=kind)
            await stream.prepare(request)
            await stream.write(b"retry: 2000\n\n")
            with contextlib.suppress(ConnectionError):
                while True:
                    try:
                        async with asyncio.timeout(_BEAT_S):
                            frame = await listener.get()
                    except TimeoutError:
                        frame = b": still here\n\n"
                    await stream.write(frame)
            return stream

    async def icon(self, _request: web.Request) -> web.FileResponse:
        """`GET /favicon.ico`."""
        return web.FileResponse(_TEMPLATES.parent / "static" / "icon.svg")

    async def _latest(self, store: Store) -> tuple[list[Card], dict[str, int]]:
        rows, _ = await asyncio.to_thread(
            store.search, DOMAIN, "", "", start=0, count=_AT_HOME, newest=True
        )
        sizes = {
            name: await asyncio.to_thread(store.size, number)
            for name, number in LEDGERS.items()
        }
        return await self._cards(store, rows), sizes

    async def _cards(self, store: Store, rows: Iterable[Row]) -> list[Card]:
        teller = Teller(lambda number: _schema_name(store, number))
        return await asyncio.to_thread(lambda: [teller.card(row) for row in rows])

    async def _endpoint(self, name: str) -> str:
        """Return the public attribute `endpoint` of a DID, empty if there is none."""
        operation = {"type": "104", "dest": name, "raw": "endpoint"}
        try:
            answer = await self._server.connection.nodes.read(operation)
        except WebError:
            return ""
        told = mapping(mapping(answer.get("data")).get("endpoint"))
        return ", ".join(f"{key}: {text(value)}" for key, value in told.items())

    def _page(self, template: str, /, *, status: int = 200, **values: Any) -> web.Response:
        html = self._templates.get_template(template).render(
            settings=self._server.settings, status=self._server.status(), **values
        )
        return web.Response(
            text=html,
            status=status,
            content_type="text/html",
            headers={"Cache-Control": "no-store"},
        )


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _schema_name(store: Store, number: int) -> str | None:
    row = store.get(DOMAIN, str(number))
    if row is None or row.type != "101":
        return None
    told = mapping(mapping(row.transaction()["txn"].get("data")).get("data"))
    return f"{text(told.get('name'))} {text(told.get('version'))}"


def _state(history: list[Row]) -> dict[str, str]:
    """Add up the NYMs of a DID: what it is now."""
    state: dict[str, str] = {}
    for row in history:
        data = mapping(mapping(row.transaction().get("txn")).get("data"))
        state |= {key: text(data[key]) for key in ("role", "verkey", "alias") if key in data}
    if "verkey" in state and history:
        state["whole"] = keys.whole(history[0].subject, state["verkey"])
    return state


def _role_choices() -> list[tuple[str, str]]:
    words = {"ENDORSER": "endorser", "TRUSTEE": "trustee", "STEWARD": "steward"}
    words |= {"NETWORK_MONITOR": "network monitor", "": "no role"}
    return [(name, words[name]) for name in words if name in ROLES]


def _qr(content: str) -> str:
    """Return a QR code as SVG; its colours come from the style sheet."""
    made = segno.make(content, error="m", micro=False)
    return made.svg_inline(border=2, omitsize=True, svgclass="qr", lineclass=None)
