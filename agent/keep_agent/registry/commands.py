"""Registry commands: DIDs, schemas, credential definitions, agreements; policies too.

A write to a ledger becomes a job (see `jobs`); everything else is one commit.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import base58
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from keep_agent.core.machine import Delete, Put, PutKey, Write
from keep_agent.core.message import Json
from keep_agent.core.policy import Policies, Policy
from keep_agent.credentials.formats import Ids
from keep_agent.credentials.spelling import (
    ONLY,
    PREFERENCES,
    form,
    preferred,
    qualified,
    spelled,
)
from keep_agent.errors import BadCommandError, NotFoundError, NotNowError, UnavailableError
from keep_agent.identity.did_choice import DID_CHOICE, NAME, DidChoice
from keep_agent.identity.keys import NewKey, raw_key
from keep_agent.identity.public_dids import OWN_DID as DID
from keep_agent.registry.jobs import AGREEMENT, Job, Jobs
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_ledger.codes import ROLE_NAMES, Role
from keep_ledger.identifiers import Did, SchemaId
from keep_ledger.interface import TaaAcceptance
from keep_ledger.plugins import Ledgers
from keep_ledger.writes import (
    WriteAttrib,
    WriteCredDef,
    WriteNym,
    WriteSchema,
    WriteVerkey,
    check_name,
    write_to_json,
)

SCHEMA = "schema"
CREDENTIAL = "credential"
KEYS = "cred_def_keys"

MakeCredDef = Callable[[str, str, str, Sequence[str], Ids], Awaitable[tuple[Json, Json, str]]]
"""Makes a credential definition of (schema id, issuer DID, tag, attributes for predicates, form of
its ids): (public object, secret rest, network)."""

CheckCredDef = Callable[[str, str, Sequence[str]], Awaitable[object]]
"""Checks a definition to be, of (schema id, issuer DID, attributes for predicates), against the schema
on its ledger; raises UnavailableError where that does not answer."""

StoreCredDef = Callable[[str, str, Json, Json, Sequence[str]], tuple[Put, ...]]
"""Returns the records of a published definition, of (id, network, public object, secret rest,
attributes for predicates)."""


def _role(given: object) -> object:
    """Read a role by its name or by the ledger's code."""
    if not isinstance(given, str) or given in ROLE_NAMES:
        return given
    if given.upper() not in Role.__members__:
        raise ValueError(f"there are: {', '.join(Role.__members__)}")
    return Role[given.upper()]


class CommandBody(BaseModel):
    """Base of the body of a command."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Submitter = str | None
"""The DID of ours that signs, in any form; None: the only one that can sign for that network."""


class CreateDid(CommandBody):
    """Create a DID of ours; a trustee or endorser has to register it on the ledger.

    Attributes:
        seed: 32 characters, or base64 of 32 bytes: the same seed gives the same DID. Random without.
    """

    seed: SecretStr | None = None
    namespace: str | None = None


class RegisterNym(CommandBody):
    """Register a DID on the ledger; the submitter needs a role that may do so.

    Attributes:
        role: TRUSTEE, STEWARD, ENDORSER, NETWORK_MONITOR, or none.
    """

    did: str
    verkey: str
    role: Annotated[Role | None, BeforeValidator(_role)] = None
    alias: str | None = None
    submitter: Submitter = None


class RotateKey(CommandBody):
    """Give a DID of ours a new key; the old one works until the ledger has the new one."""

    did: str


class WriteEndpoint(CommandBody):
    """Write the endpoint of a DID of ours to the ledger."""

    did: Submitter = None
    endpoint: str


class CreateSchema(CommandBody):
    """Write a schema to the ledger.

    Attributes:
        ids: write its id with or without the network; None: as preferred, else as the DID that signs.
    """

    name: str
    version: str
    attributes: Annotated[tuple[str, ...], Field(min_length=1, max_length=125)]
    submitter: Submitter = None
    ids: Ids | None = None


class CreateCredDef(CommandBody):
    """Make the keys of a credential definition and publish the public ones; takes a while.

    Attributes:
        predicates: attributes for predicates: in every credential they must be whole numbers of
            32 bits (names that end in `_dateint` always must).
        ids: write its ids with or without the network; None: as preferred, else as the DID that signs.
    """

    schema_id: str
    tag: str = "default"
    predicates: tuple[str, ...] = ()
    submitter: Submitter = None
    ids: Ids | None = None


class SetPreferences(CommandBody):
    """Set what the tenant prefers.

    Attributes:
        ids: how ids are written where both forms are right; None: each object has its own form.
    """

    ids: Ids | None


class AcceptAgreement(CommandBody):
    """Accept the author agreement of a network, exactly the text with this digest."""

    digest: str
    mechanism: str


class RegistryCommands:
    """The registry commands of one tenant."""

    def __init__(
        self,
        profile: Profile,
        ledgers: Ledgers,
        jobs: Jobs,
        policies: Policies,
        check_cred_def: CheckCredDef,
        make_cred_def: MakeCredDef,
        store_cred_def: StoreCredDef,
    ) -> None:
        self._profile = profile
        self._ledgers = ledgers
        self._jobs = jobs
        self._policies = policies
        self._check_cred_def = check_cred_def
        self._make_cred_def = make_cred_def
        self._store_cred_def = store_cred_def
        jobs.before["cred-def"] = self._make_keys
        jobs.after["cred-def"] = self._keep_cred_def
        jobs.after["schema"] = self._keep_schema
        jobs.after["rotate-key"] = self._use_new_key

    async def create_did(self, wanted: CreateDid) -> Json:
        """Create a DID and its key; returns the record, which a trustee or endorser registers."""
        key = NewKey.generate({}, _seed(wanted.seed))
        bare = base58.b58encode(raw_key(key.verkey)[:16]).decode()
        did = f"did:indy:{wanted.namespace}:{bare}" if wanted.namespace else bare
        if await self._profile.fetch(DID, did) is not None:
            raise NotNowError(f"{did} exists already")
        if wanted.namespace:
            self._ledgers.network(wanted.namespace)
        record: Json = {"did": did, "verkey": key.verkey, "created": time.time()}
        store = PutKey(key.verkey, key.key, {DID: did})
        await self._write(Put(DID, did, record, new=True), store)
        return record

    async def dids(self) -> list[Json]:
        """Return the DIDs of ours, oldest first."""
        return [record for _, record in await self._profile.find(DID)]

    async def register_nym(self, wanted: RegisterNym) -> Job:
        """Write a NYM."""
        write = WriteNym(wanted.did, wanted.verkey, wanted.role, wanted.alias)
        did = await self._author(wanted.submitter, wanted.did)
        return await self._jobs.start(Job.new("nym", did, write))

    async def write_endpoint(self, wanted: WriteEndpoint) -> Job:
        """Write an ATTRIB `endpoint`."""
        did = await self._author(wanted.did)
        return await self._jobs.start(
            Job.new("endpoint", did, WriteAttrib.endpoint(did, wanted.endpoint))
        )

    async def rotate_key(self, wanted: RotateKey) -> Job:
        """Rotate the key of a DID; both keys are kept until the ledger shows the new one."""
        did = await self._author(wanted.did)
        key = NewKey.generate({DID: did})
        job = Job.new("rotate-key", did, WriteVerkey(did, key.verkey), verkey=key.verkey)
        return await self._jobs.start(job, PutKey(key.verkey, key.key, key.metadata))

    async def create_schema(self, wanted: CreateSchema) -> Job:
        """Write a schema."""
        did = await self._author(wanted.submitter)
        named = _network(wanted.submitter or did) or _network(did)
        network = named or self._ledgers.of(did)[0].namespace
        issuer = spelled(did, await self._form(wanted.ids, did), network)
        write = WriteSchema(issuer, wanted.name, wanted.version, wanted.attributes)
        return await self._jobs.start(Job.new("schema", did, write, network))

    async def create_cred_def(self, wanted: CreateCredDef) -> Job:
        """Make and publish a credential definition.

        Raises:
            BadWriteError, BadIdError: a wrong tag, or no schema id.
            BadCommandError: the schema is on no ledger, or cannot have this definition. Where its
                ledger does not answer, the job finds this out.
        """
        check_name(wanted.tag, "tag")  # now: the keys take long
        SchemaId.parse(wanted.schema_id)
        did = await self._author(wanted.submitter, wanted.schema_id)
        with suppress(UnavailableError):
            await self._check_cred_def(wanted.schema_id, did, wanted.predicates)
        job = Job.new(
            "cred-def",
            did,
            schema_id=wanted.schema_id,
            tag=wanted.tag,
            predicates=list(wanted.predicates),
            ids=await self._form(wanted.ids, did),
        )
        return await self._jobs.start(job)

    async def accept_agreement(self, namespace: str, wanted: AcceptAgreement) -> Json:
        """Remember that the agreement in force was accepted today."""
        taa = await self._ledgers.network(namespace).get_taa()
        if taa is None or taa.digest != wanted.digest:
            raise NotNowError("the network has another agreement in force; read it again")
        try:
            accepted = TaaAcceptance.of(taa, wanted.mechanism, datetime.now(UTC))
        except ValueError as error:
            raise BadCommandError(str(error)) from error
        record: Json = {
            "mechanism": accepted.mechanism,
            "day": accepted.day,
            "namespace": namespace,
        }
        await self._write(Put(AGREEMENT, taa.digest, record))
        return record

    async def preferences(self) -> Json:
        """Return what the tenant prefers."""
        return {"ids": await preferred(self._profile)}

    async def set_preferences(self, wanted: SetPreferences) -> Json:
        """Set what the tenant prefers."""
        record = wanted.model_dump()
        await self._write(Put(PREFERENCES, ONLY, record))
        return record

    async def choose_dids(self, choice: DidChoice) -> DidChoice:
        """Set which DIDs we show where a command does not say it."""
        await self._write(choice.put())
        return choice

    async def did_choice(self) -> DidChoice:
        """Return which DIDs we show where a command does not say it."""
        return DidChoice.model_validate(await self._profile.fetch(DID_CHOICE, NAME) or {})

    async def set_policy(self, policy: Policy) -> Policy:
        """Set a policy; an empty `auto` turns it off."""
        policy = self._policies.check(policy)
        await self._write(policy.put())
        self._policies.adopt(policy)
        return policy

    async def delete_credential(self, name: str) -> None:
        """Delete a held credential.

        Raises:
            NotFoundError: none of this name is held.
        """
        await self._profile.get(CREDENTIAL, name)
        event = {"type": CREDENTIAL, "id": name, "state": "deleted"}
        await self._profile.commit(Commit(writes=(Delete(CREDENTIAL, name),), events=(event,)))

    # -- before and after jobs -------------------------------------------------------------------

    async def _make_keys(self, job: Job) -> tuple[Job, tuple[Write, ...]]:
        args = job.args
        ids: Ids = args.get("ids", "qualified")  # jobs of earlier versions wrote all ids so
        public, secret, network = await self._make_cred_def(
            args["schema_id"], job.submitter, args["tag"], args["predicates"], ids
        )
        write = write_to_json(WriteCredDef.from_anoncreds(public))
        keys = Put(KEYS, job.id, {"public": public, "secret": secret})
        return job.but(write=write, network=network), (keys,)

    async def _keep_cred_def(self, job: Job) -> tuple[Job, tuple[Write, ...]]:
        keys = await self._profile.get(KEYS, job.id)
        network, made = job.network or "", (keys["public"], keys["secret"])
        records = self._store_cred_def(str(job.result), network, *made, job.args["predicates"])
        return job, (*records, Delete(KEYS, job.id))

    async def _keep_schema(self, job: Job) -> tuple[Job, tuple[Write, ...]]:
        name = qualified(str(job.result), job.network or "")
        record = {"id": job.result, "network": job.network, **(job.write or {})}
        return job, (Put(SCHEMA, name, record),)

    async def _use_new_key(self, job: Job) -> tuple[Job, tuple[Write, ...]]:
        record = await self._profile.get(DID, job.submitter)
        return job, (Put(DID, job.submitter, {**record, "verkey": job.args["verkey"]}),)

    async def _author(self, did: str | None, target: str | None = None) -> str:
        """Return the DID of ours that signs; if none is named, the only one that could.

        So a DID that is made later never silently takes the place of another as signer.

        Args:
            target: what is written or written about: its network is the signer's.

        Raises:
            NotFoundError: no such DID of ours, or none that could sign.
            BadCommandError: several could; the text lists them.
        """
        networks = [each.namespace for each in self._ledgers.of(target)] if target else []
        if did is not None and await self._profile.fetch(DID, did) is not None:
            return did
        ours = [str(record["did"]) for record in await self.dids()]
        if did is not None:
            ours = [each for each in ours if _may_be(did, each)]
        fit = [each for each in ours if not networks or _network(each) in {None, *networks}]
        if not fit:
            raise NotFoundError(
                "there is no DID of ours that could sign this; create one first"
                if did is None
                else f"{did} is not a DID of ours that could sign this; create it first, or name another"
            )
        if len(fit) > 1:
            raise BadCommandError(
                f"several DIDs of ours could sign this; name one: {', '.join(fit)}"
            )
        return fit[0]

    async def _form(self, ids: Ids | None, did: str) -> Ids:
        return ids or await preferred(self._profile) or form(did)

    async def _write(self, *writes: Write) -> None:
        await self._profile.commit(Commit(writes=writes))


def _may_be(given: str, ours: str) -> bool:
    """Tell whether this names a DID of ours, where one of them names no network, or has `did:sov:`."""
    asked, own = Did.parse(given), Did.parse(ours)
    return asked.id == own.id and None in (asked.namespace, own.namespace)


def _network(did: str) -> str | None:
    """Return the network that a DID of ours names; None: it may be on any."""
    return Did.parse(did).namespace


def _seed(given: SecretStr | None) -> bytes | None:
    if given is None:
        return None
    text = given.get_secret_value()
    if text.endswith("="):
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:
            raise BadCommandError("the seed is not base64") from error
    return text.encode()
