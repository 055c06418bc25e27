"""Commands for public DIDs: at most one of a tenant on each ledger, and what the ledger says of it."""

from __future__ import annotations

import time

from pydantic import BaseModel, ConfigDict

from keep_agent.core.machine import Delete
from keep_agent.core.message import Json
from keep_agent.errors import BadCommandError, NotFoundError, NotNowError
from keep_agent.identity.public_dids import ANOTHER_KEY, OWN_DID, PUBLIC_DID, PublicDid, split
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_ledger.errors import LedgerUnavailableError
from keep_ledger.plugins import Ledgers


class MakePublic(BaseModel):
    """Make a DID of ours the public one of its ledger, in the place of another.

    Attributes:
        namespace: the network; needed where the DID does not name it and several are configured.
        implicit_requests: take connection requests that answer no invitation; what is done with them then
            is up to the policies, as with all requests. None: as it was, and not where the DID becomes
            public now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    did: str
    namespace: str | None = None
    implicit_requests: bool | None = None


class PublicDids:
    """The public DIDs of one tenant.

    Args:
        endpoint: URL that peers reach this tenant on.
    """

    def __init__(self, profile: Profile, ledgers: Ledgers, endpoint: str) -> None:
        self._profile = profile
        self._ledgers = ledgers
        self._endpoint = endpoint

    async def make_public(self, wanted: MakePublic) -> Json:
        """Make a DID public; return what `status` says of it.

        Raises:
            NotFoundError: it is not a DID of ours.
            BadCommandError: its network is not clear, or not configured.
            NotNowError: its key on the ledger is not ours.
        """
        record = await self._own(wanted.did)
        if record is None:
            raise NotFoundError(
                f"{wanted.did} is not a DID whose key is in this store, so this agent cannot respond for it; "
                "nor can it for a DID that several people hold together"
            )
        namespace = self._namespace(wanted)
        allowed = wanted.implicit_requests
        if allowed is None:
            before = await self._profile.fetch(PUBLIC_DID, namespace) or {}
            allowed = before.get("did") == record["did"] and before["implicit_requests"]
        public = PublicDid(
            namespace=namespace,
            did=record["did"],
            implicit_requests=allowed,
            created=time.time(),
        )
        status = await self._status(public, record)
        if status["problem"] == ANOTHER_KEY:
            raise NotNowError(f"{wanted.did}: {ANOTHER_KEY}")
        await self._profile.commit(Commit(writes=(public.put(),)))
        return status

    async def withdraw(self, namespace: str) -> None:
        """Withdraw the public DID of a ledger; its connections stay.

        Raises:
            NotFoundError: there is none.
        """
        if await self._profile.fetch(PUBLIC_DID, namespace) is None:
            raise NotFoundError(f"there is no public DID on {namespace!r}")
        await self._profile.commit(Commit(writes=(Delete(PUBLIC_DID, namespace),)))

    async def status(self) -> list[Json]:
        """Return each public DID with what its ledger says: role, key, endpoint, and what is missing."""
        found: list[Json] = []
        for _, row in await self._profile.find(PUBLIC_DID):
            public = PublicDid.model_validate(row)
            record = await self._profile.get(OWN_DID, public.did)
            found.append(await self._status(public, record))
        return found

    async def _own(self, text: str) -> Json | None:
        """Return the record of a DID of ours, in whatever form it is given."""
        network, bare = split(text)
        for _, record in await self._profile.find(OWN_DID):
            own_network, own = split(str(record["did"]))
            if own == bare and (own_network == network or None in (own_network, network)):
                return record
        return None

    def _namespace(self, wanted: MakePublic) -> str:
        fitting = [each.namespace for each in self._ledgers.of(wanted.did)]
        if wanted.namespace is not None:
            fitting = [each for each in fitting if each == wanted.namespace]
        if not fitting:
            raise BadCommandError(f"{wanted.did} is not of the network {wanted.namespace}")
        if len(fitting) > 1:
            raise BadCommandError(
                f"{wanted.did} does not name its network; give one as namespace: {', '.join(fitting)}"
            )
        return fitting[0]

    async def _status(self, public: PublicDid, record: Json) -> Json:
        told: Json = {
            **public.model_dump(mode="json", exclude={"created"}),
            "shown": public.shown,
            "verkey": record["verkey"],
            "on_ledger": None,
            "role": None,
            "endpoint": None,
        }
        registry = self._ledgers.network(public.namespace)
        try:
            nym = await registry.get_nym(public.did)
            resolved = await registry.resolve(public.did) if nym else None
        except LedgerUnavailableError as error:
            return {**told, "problem": f"the ledger does not answer: {error}"}
        if nym is None:
            problem = "it is not on the ledger: a trustee or endorser has to register it"
            return {**told, "on_ledger": False, "problem": problem}
        endpoint = resolved.endpoint if resolved else None
        told |= {
            "on_ledger": True,
            "role": nym.role.name if nym.role else None,
            "endpoint": endpoint,
        }
        return {**told, "problem": self._problem(nym.verkey == record["verkey"], endpoint)}

    def _problem(self, ours: bool, endpoint: str | None) -> str | None:  # noqa: FBT001
        if not ours:
            return ANOTHER_KEY
        if endpoint is None:
            return (
                f"it has no endpoint on the ledger: write {self._endpoint} (POST /v1/endpoints)"
            )
        if endpoint.rstrip("/") != self._endpoint:
            return f"its endpoint on the ledger is another than {self._endpoint}, where we are reached"
        return None
