"""A ledger in memory with Indy's default rules: for tests, demos, and as an example of a plugin.

It checks who signed, but not the signatures themselves: it has no cryptography. Its content is lost when
the process ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, assert_never

from keep_ledger import write_lookup
from keep_ledger.codes import Role
from keep_ledger.did_resolution import resolved
from keep_ledger.errors import BadWriteError
from keep_ledger.identifiers import CredDefId, Did, SchemaId, local
from keep_ledger.interface import (
    CredDef,
    Failed,
    Finished,
    LedgerStatus,
    NeedsSignatures,
    Nym,
    Prepared,
    Resolved,
    Result,
    Schema,
    Taa,
    TaaAcceptance,
    Why,
)
from keep_ledger.json_object import Json
from keep_ledger.plugins import Fetch, LedgerConfig
from keep_ledger.writes import (
    Write,
    WriteAttrib,
    WriteCredDef,
    WriteNym,
    WriteSchema,
    WriteVerkey,
    target,
)

TRUSTEE = Nym(
    "V4SGRU86Z58d6TV7PBUe6f", "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL", Role.TRUSTEE, 1
)
"""The first trustee, as on local Indy networks (seed `000000000000000000000000Trustee1`)."""

_AUTHORS = (Role.TRUSTEE, Role.STEWARD, Role.ENDORSER)
_MAY_GIVE: dict[Role | None, tuple[Role, ...]] = {
    None: _AUTHORS,
    Role.ENDORSER: (Role.TRUSTEE, Role.STEWARD),
    Role.NETWORK_MONITOR: (Role.TRUSTEE, Role.STEWARD),
    Role.STEWARD: (Role.TRUSTEE,),
    Role.TRUSTEE: (Role.TRUSTEE,),
}


@dataclass(slots=True)
class _State:
    """The ledger itself; everything under its bare (unqualified) id."""

    size: int = 1
    nyms: dict[str, Nym] = field(default_factory=dict[str, Nym])
    attribs: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    schemas: dict[str, Schema] = field(default_factory=dict[str, Schema])
    cred_defs: dict[str, CredDef] = field(default_factory=dict[str, CredDef])
    done: dict[str, Finished] = field(default_factory=dict[str, Finished])


class MemoryRegistry:
    """One ledger in memory. Agents that use the same ledger share the object.

    Attributes:
        taa: the agreement in force; assign one to require its acceptance.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._state = _State(nyms={TRUSTEE.did: TRUSTEE})
        self._since = datetime.now(UTC)
        self.taa: Taa | None = None

    @property
    def namespace(self) -> str:
        """Its did:indy namespace."""
        return self._namespace

    def _bare(self, did: str) -> str:
        return local(Did.parse(did), self._namespace).id

    async def get_nym(self, did: str) -> Nym | None:
        """See `Registry`."""
        nym = self._state.nyms.get(self._bare(did))
        return nym and Nym(did, nym.verkey, nym.role, nym.seq_no)

    async def get_attrib(self, did: str, name: str) -> Json | None:
        """See `Registry`."""
        raw = self._state.attribs.get((self._bare(did), name))
        return None if raw is None else json.loads(raw)

    async def get_schema(self, schema_id: str) -> Schema | None:
        """See `Registry`."""
        asked = SchemaId.parse(schema_id)
        local(asked.did, self._namespace)
        there = self._state.schemas.get(str(asked.at(None)))
        if there is None:
            return None
        names = there.attr_names
        return Schema(
            str(asked), str(asked.did), asked.name, asked.version, names, there.seq_no
        )

    async def get_cred_def(self, cred_def_id: str) -> CredDef | None:
        """See `Registry`."""
        asked = CredDefId.parse(cred_def_id)
        local(asked.did, self._namespace)
        there = self._state.cred_defs.get(str(asked.at(None)))
        if there is None:
            return None
        schema = str(SchemaId.parse(there.schema_id).at(asked.did.namespace))
        return CredDef(str(asked), str(asked.did), schema, asked.tag, there.value, there.seq_no)

    async def resolve(self, did: str) -> Resolved | None:
        """See `Registry`."""
        return await resolved(self, did)

    async def get_taa(self) -> Taa | None:
        """See `Registry`."""
        return self.taa

    async def prepare(
        self,
        write: Write,
        submitter: str,
        *,
        endorser: str | None = None,
        taa: TaaAcceptance | None = None,
    ) -> Prepared:
        """See `Registry`."""
        local(Did.parse(target(write)), self._namespace)
        if isinstance(write, WriteCredDef):
            await write_lookup.cred_def_id(self, write)
        if isinstance(write, WriteSchema | WriteCredDef) and (
            self._bare(submitter) != self._bare(write.issuer_id)
        ):
            raise BadWriteError("the submitter of a schema or credential definition owns it")
        author, second = self._bare(submitter), endorser and self._bare(endorser)
        body: dict[str, Any] = {"author": author, "write": repr(write), "endorser": second}
        accepted = taa and [taa.digest, taa.mechanism, taa.day]
        request = json.dumps(body | {"taa": accepted, "number": self._state.size})
        return Prepared(write, self._namespace, author, second, request, request.encode())

    async def submit(self, prepared: Prepared, signatures: Mapping[str, bytes]) -> Result:
        """See `Registry`."""
        signers = {self._bare(did): signature for did, signature in signatures.items()}
        refusal = prepared.unsigned(signers) or self._unendorsed(prepared)
        if refusal is not None:
            return refusal
        there = await self.find(prepared.write) or self._state.done.get(prepared.request)
        if there is not None:
            return there
        refusal = self._unaccepted(prepared) or self._forbidden(prepared)
        if refusal is not None:
            return refusal
        finished = await self._apply(prepared.write)
        self._state.done[prepared.request] = finished
        return finished

    def _unendorsed(self, prepared: Prepared) -> Failed | None:
        if prepared.endorser and self._role(prepared.endorser) is not Role.ENDORSER:
            return Failed(Why.REFUSED, f"{prepared.endorser} does not have the role ENDORSER")
        return None

    def _unaccepted(self, prepared: Prepared) -> Failed | None:
        accepted = json.loads(prepared.request)["taa"]
        digest = self.taa and self.taa.digest
        if digest and (not accepted or accepted[0] != digest):
            text = (
                f"the author agreement {self.taa.version if self.taa else ''} is not accepted"
            )
            return Failed(Why.AGREEMENT, text)
        return None

    def _role(self, did: str) -> Role | None:
        nym = self._state.nyms.get(did)
        return nym.role if nym else None

    def _forbidden(self, prepared: Prepared) -> Failed | NeedsSignatures | None:
        write, author = prepared.write, prepared.submitter
        there = self._state.nyms.get(self._bare(target(write)))
        match write:
            case WriteNym() if there is not None:
                return self._needs_role(prepared, _MAY_GIVE[write.role or Role.TRUSTEE])
            case WriteNym():
                return self._needs_role(prepared, _MAY_GIVE[write.role])
            case WriteVerkey() | WriteAttrib():
                if there is None or there.did != author:
                    return Failed(Why.REFUSED, f"only the owner can change {target(write)}")
                return None
            case WriteSchema() | WriteCredDef():
                return self._needs_role(prepared, _AUTHORS)
            case _:
                assert_never(write)

    def _needs_role(
        self, prepared: Prepared, roles: tuple[Role, ...]
    ) -> NeedsSignatures | None:
        if self._role(prepared.endorser or prepared.submitter) in roles:
            return None
        names = " or ".join(role.name for role in roles)
        return NeedsSignatures(f"one {names} signature is required", ())

    async def _apply(self, write: Write) -> Finished:
        state = self._state
        state.size += 1
        match write:
            case WriteNym():
                bare = self._bare(write.did)
                state.nyms[bare] = Nym(bare, write.verkey, write.role, state.size)
                return Finished(write.did, state.size)
            case WriteVerkey():
                bare = self._bare(write.did)
                role = state.nyms[bare].role
                state.nyms[bare] = Nym(bare, write.verkey, role, state.size)
                return Finished(write.did, state.size)
            case WriteAttrib():
                state.attribs[self._bare(write.did), write.name] = write.raw
                return Finished(write.did, state.size)
            case WriteSchema():
                return self._add_schema(write)
            case WriteCredDef():
                return await self._add_cred_def(write)
            case _:
                assert_never(write)

    def _add_schema(self, write: WriteSchema) -> Finished:
        bare, size = SchemaId.parse(write.id).at(None), self._state.size
        self._state.schemas[str(bare)] = Schema(
            str(bare), bare.did.id, bare.name, bare.version, write.attr_names, size
        )
        return Finished(write.id, size)

    async def _add_cred_def(self, write: WriteCredDef) -> Finished:
        asked, size = await write_lookup.cred_def_id(self, write), self._state.size
        bare, schema = asked.at(None), SchemaId.parse(write.schema_id).at(None)
        self._state.cred_defs[str(bare)] = CredDef(
            str(bare), bare.did.id, str(schema), bare.tag, write.value, size
        )
        return Finished(str(asked), size)

    async def find(self, write: Write) -> Finished | Failed | None:
        """See `Registry`."""
        return await write_lookup.find(self, write)

    async def confirm(self, write: Write) -> Finished | Failed:
        """See `Registry`."""
        return await write_lookup.confirm(self, write, patience_s=1)

    def status(self) -> LedgerStatus:
        """See `Registry`."""
        return LedgerStatus(self._namespace, True, 1, self._since, None)  # noqa: FBT003

    async def refresh(self) -> LedgerStatus:
        """See `Registry`."""
        return self.status()

    async def close(self) -> None:
        """See `Registry`."""


def open_ledger(config: LedgerConfig, fetch: Fetch) -> MemoryRegistry:
    """Open an empty ledger (entry point `memory`); it needs neither genesis nor network."""
    del fetch
    return MemoryRegistry(config.namespace)
