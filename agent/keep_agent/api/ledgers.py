"""The configured networks: their status, author agreements and objects."""

from __future__ import annotations

import json
from dataclasses import asdict

from aiohttp import web

from keep_agent.api.auth import TENANT, answer
from keep_agent.api.requests import read_as
from keep_agent.core.message import Json
from keep_agent.errors import NotFoundError
from keep_agent.registry.commands import AcceptAgreement
from keep_ledger.interface import CredDef, LedgerStatus, Nym, Registry, Schema


class LedgerReads:
    """The routes of the configured networks; what is read comes with a state proof."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        at = "/v1/ledgers/{namespace}"
        return [
            web.get("/v1/ledgers", self.status, allow_head=False),
            web.get(f"{at}/agreement", self.agreement, allow_head=False),
            web.post(f"{at}/agreement", self.accept),
            web.get(at + "/schemas/{id:.+}", self.schema, allow_head=False),
            web.get(at + "/cred-defs/{id:.+}", self.cred_def, allow_head=False),
            web.get(at + "/nyms/{id:.+}", self.nym, allow_head=False),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """Return whether each network answered when it was last asked."""
        found = request[TENANT].around.ledgers.status()
        return answer({"results": [status_json(each) for each in found]})

    async def agreement(self, request: web.Request) -> web.Response:
        """Return the author agreement in force, to be read before it is accepted."""
        taa = await _network(request).get_taa()
        if taa is None:
            raise NotFoundError("this network has no author agreement; nothing to accept")
        return answer(
            {
                "text": taa.text,
                "version": taa.version,
                "digest": taa.digest,
                "mechanisms": dict(taa.mechanisms),
            }
        )

    async def accept(self, request: web.Request) -> web.Response:
        """Accept the author agreement with this digest."""
        namespace = _network(request).namespace
        wanted = await read_as(request, AcceptAgreement)
        return answer(await request[TENANT].commands.accept_agreement(namespace, wanted))

    async def schema(self, request: web.Request) -> web.Response:
        """Read a schema."""
        name = request.match_info["id"]
        found = await _network(request).get_schema(name)
        return answer(_there(found, name))

    async def cred_def(self, request: web.Request) -> web.Response:
        """Read a credential definition."""
        name = request.match_info["id"]
        found = await _network(request).get_cred_def(name)
        body = _there(found, name)
        return answer({**body, "value": json.loads(body["value"])})

    async def nym(self, request: web.Request) -> web.Response:
        """Read a DID: its key and its role."""
        name = request.match_info["id"]
        found = await _network(request).get_nym(name)
        role = found.role.name if found and found.role else None
        return answer({**_there(found, name), "role": role})


def _network(request: web.Request) -> Registry:
    return request[TENANT].around.ledgers.network(request.match_info["namespace"])


def _there(found: Schema | CredDef | Nym | None, name: str) -> Json:
    if found is None:
        raise NotFoundError(f"the ledger proves that it has no {name}")
    return asdict(found)


def status_json(status: LedgerStatus) -> Json:
    """Return the status of a network as JSON."""
    return {**asdict(status), "since": status.since.isoformat() if status.since else None}
