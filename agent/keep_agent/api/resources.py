"""Routes beside exchanges: connections, credentials, policies, DIDs, and writes to ledgers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from keep_agent.api.auth import TENANT, answer, problem
from keep_agent.api.requests import Query, Waits, read_as, read_nothing
from keep_agent.core.message import Json
from keep_agent.core.policy import Policy
from keep_agent.credentials.spelling import as_received, network_of
from keep_agent.errors import BadCommandError
from keep_agent.identity.connections import CONNECTION_STATES
from keep_agent.registry.commands import (
    SCHEMA,
    CreateCredDef,
    CreateDid,
    CreateSchema,
    RegisterNym,
    RotateKey,
    SetPreferences,
    WriteEndpoint,
)
from keep_agent.registry.jobs import JOB, OPEN, Job, State

PAGE = 100
MOST = 1000
CONNECTION = "connection"
CREDENTIAL = "credential"
CRED_DEF = "cred_def"


class CandidatesRequest(BaseModel):
    """The body of a search for candidates.

    Attributes:
        request: a presentation request (AnonCreds specification).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Json


class Resources:
    """The routes of the records of a tenant and of its registry commands."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        read = {
            "/v1/connections": self.connections,
            "/v1/connections/{id:.+}": self.connection,
            "/v1/credentials": self.credentials,
            "/v1/credentials/{id}": self.credential,
            "/v1/policies": self.policies,
            "/v1/preferences": self.preferences,
            "/v1/dids": self.dids,
            "/v1/schemas": self.schemas,
            "/v1/cred-defs": self.cred_defs,
            "/v1/jobs": self.jobs,
            "/v1/jobs/{id}": self.job,
            "/v1/outbox": self.outbox,
        }
        write = {
            "/v1/credentials/candidates": self.candidates,
            "/v1/dids": self.create_did,
            "/v1/dids/{did}/rotate-key": self.rotate_key,
            "/v1/nyms": self.register_nym,
            "/v1/endpoints": self.write_endpoint,
            "/v1/schemas": self.create_schema,
            "/v1/cred-defs": self.create_cred_def,
            "/v1/jobs/{id}/resume": self.resume,
        }
        return [
            *(web.get(path, do, allow_head=False) for path, do in read.items()),
            *(web.post(path, do) for path, do in write.items()),
            web.put("/v1/policies", self.set_policy),
            web.delete("/v1/credentials/{id}", self.delete_credential),
            web.put("/v1/preferences", self.set_preferences),
        ]

    # -- records ---------------------------------------------------------------------------------

    async def connections(self, request: web.Request) -> web.Response:
        """Return connections, newest first; with `wait`, as soon as there are any."""
        tags = {
            "invitation": "peer",
            **{name: name for name in ("state", "their_did", "my_did")},
        }
        profile = request[TENANT].profile
        query = Query(request, "wait", *_PAGING, *tags)
        _check_state(query.text("state"), CONNECTION_STATES)

        async def look() -> list[tuple[str, Json]] | None:
            return await _found(request, query, CONNECTION, tags) or None

        found = await self._waits.found(profile, look, query.seconds("wait", 0)) or []
        return answer({"results": [record for _, record in found]})

    async def connection(self, request: web.Request) -> web.Response:
        """Return one connection."""
        name = request.match_info["id"]
        return answer(await request[TENANT].profile.get(CONNECTION, name))

    async def credentials(self, request: web.Request) -> web.Response:
        """Return held credentials, newest first."""
        return await _page(request, CREDENTIAL, _credential)

    async def credential(self, request: web.Request) -> web.Response:
        """Return one held credential: its values, without signature and witness."""
        name = request.match_info["id"]
        return answer(_credential(name, await request[TENANT].profile.get(CREDENTIAL, name)))

    async def delete_credential(self, request: web.Request) -> web.Response:
        """Delete a held credential; it cannot be shown any more, and its issuer is not told."""
        Query(request)
        await read_nothing(request)
        name = request.match_info["id"]
        await request[TENANT].commands.delete_credential(name)
        return answer({"id": name, "deleted": True})

    async def candidates(self, request: web.Request) -> web.Response:
        """Return which held credentials answer a presentation request, and why others do not."""
        asked = (await read_as(request, CandidatesRequest)).request
        found = await request[TENANT].prover.select(asked)
        return answer(
            {
                "chosen": dict(found.chosen),
                "candidates": {key: list(names) for key, names in found.candidates.items()},
                "misfits": [
                    {
                        "credential": each.credential_id,
                        "referent": each.referent,
                        "why": each.why,
                    }
                    for each in found.misfits
                ],
                "missing": list(found.missing),
                "self_attestable": list(found.self_attestable),
            }
        )

    # -- policies --------------------------------------------------------------------------------

    async def policies(self, request: web.Request) -> web.Response:
        """Return the policies."""
        found = request[TENANT].policies.all()
        return answer({"results": [policy.model_dump(mode="json") for policy in found]})

    async def set_policy(self, request: web.Request) -> web.Response:
        """Set a policy; an empty `auto` turns it off."""
        policy = await read_as(request, Policy)
        policy = await request[TENANT].commands.set_policy(policy)
        return answer(policy.model_dump(mode="json"))

    async def preferences(self, request: web.Request) -> web.Response:
        """Return what the tenant prefers."""
        return answer(await request[TENANT].commands.preferences())

    async def set_preferences(self, request: web.Request) -> web.Response:
        """Set how ids are written where both forms are right; `null`: each object has its own."""
        wanted = await read_as(request, SetPreferences)
        return answer(await request[TENANT].commands.set_preferences(wanted))

    # -- registry commands -----------------------------------------------------------------------

    async def create_did(self, request: web.Request) -> web.Response:
        """Create a DID of ours."""
        return answer(
            await request[TENANT].commands.create_did(await read_as(request, CreateDid)), 201
        )

    async def dids(self, request: web.Request) -> web.Response:
        """Return the DIDs of ours, oldest first."""
        return answer({"results": await request[TENANT].commands.dids()})

    async def rotate_key(self, request: web.Request) -> web.Response:
        """Give a DID of ours a new key, on the ledger too."""
        await read_nothing(request)
        wanted = RotateKey(did=request.match_info["did"])
        return _accepted(await request[TENANT].commands.rotate_key(wanted))

    async def register_nym(self, request: web.Request) -> web.Response:
        """Register a DID on the ledger."""
        return _accepted(
            await request[TENANT].commands.register_nym(await read_as(request, RegisterNym))
        )

    async def write_endpoint(self, request: web.Request) -> web.Response:
        """Write the endpoint of a DID of ours to the ledger."""
        return _accepted(
            await request[TENANT].commands.write_endpoint(await read_as(request, WriteEndpoint))
        )

    async def create_schema(self, request: web.Request) -> web.Response:
        """Write a schema to the ledger."""
        return _accepted(
            await request[TENANT].commands.create_schema(await read_as(request, CreateSchema))
        )

    async def create_cred_def(self, request: web.Request) -> web.Response:
        """Make and publish a credential definition."""
        return _accepted(
            await request[TENANT].commands.create_cred_def(
                await read_as(request, CreateCredDef)
            )
        )

    async def schemas(self, request: web.Request) -> web.Response:
        """Return the schemas that we wrote, newest first."""
        return await _page(request, SCHEMA)

    async def cred_defs(self, request: web.Request) -> web.Response:
        """Return our credential definitions, newest first: the public part alone."""
        return await _page(request, CRED_DEF, _cred_def)

    # -- jobs ------------------------------------------------------------------------------------

    async def jobs(self, request: web.Request) -> web.Response:
        """Return the jobs that write to ledgers, newest first."""
        return await _page(request, JOB, lambda _, row: Job.model_validate(row).shown())

    async def job(self, request: web.Request) -> web.Response:
        """Return one job; with `wait`, when it is over, or is in one of the states of `state`.

        One that failed is answered with its failure, 409, except where its state is asked for.
        """
        profile = request[TENANT].profile
        query = Query(request, "wait", "state")
        wanted, wait_s = query.words("state") or _SETTLED, query.seconds("wait", 0)
        for state in wanted:
            _check_state(state, State)
        name = request.match_info["id"]

        async def look() -> Job | None:
            job = Job.model_validate(await profile.get(JOB, name))
            return None if job.state in OPEN and job.state not in wanted else job

        job = await self._waits.found(profile, look, wait_s)
        job = job or Job.model_validate(await profile.get(JOB, name))
        if job.state is State.FAILED and State.FAILED not in query.words("state"):
            why = f"the {job.kind} was not written: {job.error}"
            return problem(HTTPStatus.CONFLICT, why, job=job.shown())
        return answer(job.shown())

    async def resume(self, request: web.Request) -> web.Response:
        """Resume a job that failed, or waits for an agreement or a signature."""
        await read_nothing(request)
        return _accepted(await request[TENANT].jobs.resume(request.match_info["id"]))

    # -- delivery --------------------------------------------------------------------------------

    async def outbox(self, request: web.Request) -> web.Response:
        """Return the peers for whom messages wait, since when and why; the longest wait comes first."""
        query = Query(request, *_PAGING)
        limit, offset = query.count("limit", PAGE, MOST), query.count("offset", 0, 10**9)
        found = request[TENANT].outbox.waiting_for()
        return answer({"results": found[offset : offset + limit], "total": len(found)})


_PAGING = ("limit", "offset")
_SETTLED = frozenset(str(state) for state in State if state not in OPEN)


async def _page(
    request: web.Request, category: str, show: Callable[[str, Json], Json] | None = None
) -> web.Response:
    """Answer with records of a category, newest first."""
    found = await _found(request, Query(request, *_PAGING), category, {})
    return answer({"results": [show(*each) if show else each[1] for each in found]})


async def _found(
    request: web.Request, query: Query, category: str, tags: Mapping[str, str]
) -> list[tuple[str, Json]]:
    """Return the records that fit the query; `tags` gives the tag of each parameter."""
    limit, offset = query.count("limit", PAGE, MOST), query.count("offset", 0, 10**9)
    asked = {tag: value for name, tag in tags.items() if (value := query.text(name))}
    return await request[TENANT].profile.records(category, asked, offset, limit)


def _check_state(state: str | None, known: Iterable[str]) -> None:
    if state and state not in (states := list(known)):
        raise BadCommandError(f"no state {state!r}; there are: {', '.join(states)}")


def _accepted(job: Job) -> web.Response:
    """Answer that a job has started, with its path."""
    response = answer(job.shown(), 202)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return response


def _cred_def(name: str, record: Json) -> Json:
    shown = {key: record[key] for key in ("id", "schema_id", "public")}
    predicates = record.get("predicates", [])
    return {**shown, "network": network_of(name), "predicates": predicates}


def _credential(name: str, record: Json) -> Json:
    values: dict[str, Any] = record["credential"]["values"]
    ids = as_received(record)
    return {"id": name, **ids, "values": {key: each["raw"] for key, each in values.items()}}
