"""Routes of public DIDs, and of the choice which DIDs peers see."""

from __future__ import annotations

from aiohttp import web

from keep_agent.api.auth import TENANT, answer
from keep_agent.api.requests import read_as, read_nothing
from keep_agent.identity.did_choice import DidChoice
from keep_agent.registry.public_dids import MakePublic


class PublicDidRoutes:
    """The routes of what peers see of a tenant."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/v1/did-choice", self.did_choice, allow_head=False),
            web.put("/v1/did-choice", self.choose_dids),
            web.get("/v1/public-dids", self.public_dids, allow_head=False),
            web.post("/v1/public-dids", self.make_public),
            web.delete("/v1/public-dids/{namespace}", self.withdraw),
        ]

    async def did_choice(self, request: web.Request) -> web.Response:
        """Return which DIDs we show in invitations and on connections."""
        choice = await request[TENANT].commands.did_choice()
        return answer(choice.model_dump(mode="json"))

    async def choose_dids(self, request: web.Request) -> web.Response:
        """Choose which DIDs we show where a command does not say it."""
        choice = await read_as(request, DidChoice)
        choice = await request[TENANT].commands.choose_dids(choice)
        return answer(choice.model_dump(mode="json"))

    async def public_dids(self, request: web.Request) -> web.Response:
        """Return the public DIDs: whether each is on its ledger, with which role and endpoint."""
        return answer({"results": await request[TENANT].public_dids.status()})

    async def make_public(self, request: web.Request) -> web.Response:
        """Make a DID of ours the public one of its ledger."""
        wanted = await read_as(request, MakePublic)
        return answer(await request[TENANT].public_dids.make_public(wanted))

    async def withdraw(self, request: web.Request) -> web.Response:
        """Withdraw the public DID of a ledger; its connections stay."""
        await read_nothing(request)
        await request[TENANT].public_dids.withdraw(request.match_info["namespace"])
        return answer({})
