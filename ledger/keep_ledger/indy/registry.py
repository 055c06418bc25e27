"""The registry port on an Indy network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from indy_vdr import VdrError
from indy_vdr.ledger import build_custom_request

from keep_ledger import codes, write_lookup
from keep_ledger.did_resolution import resolved
from keep_ledger.errors import BadWriteError, GenesisError, LedgerUnavailableError
from keep_ledger.identifiers import CredDefId, Did, SchemaId, local
from keep_ledger.indy import author_agreement, genesis, node_refusals, replies, requests
from keep_ledger.indy.object_cache import ObjectCache
from keep_ledger.indy.pool import Pool, RequestRefusedError
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
from keep_ledger.writes import Write, WriteCredDef, WriteNym, WriteSchema, target

_CONFIRM_S = 10.0


class IndyRegistry:
    """One Indy network. It is contacted by the first question, not when it is opened."""

    def __init__(self, config: LedgerConfig, fetch: Fetch) -> None:
        folder = config.cache and config.cache / config.namespace.replace(":", ".")
        objects = folder and folder / "objects"
        self._namespace = config.namespace
        self._schemas = ObjectCache(Schema, objects)
        self._cred_defs = ObjectCache(CredDef, objects)

        async def load() -> genesis.Genesis:
            if config.genesis is None:
                raise GenesisError("no genesis is configured: give a file or a URL")
            return await genesis.load(config.genesis, fetch, folder)

        self._pool = Pool(config.namespace, load, folder)

    @property
    def namespace(self) -> str:
        """Its did:indy namespace."""
        return self._namespace

    def _local(self, did: str) -> Did:
        return local(Did.parse(did), self._namespace)

    async def get_nym(self, did: str) -> Nym | None:
        """See `Registry`."""
        asked = self._local(did)
        reply = await self._pool.ask(requests.get_nym(asked), codes.DOMAIN)
        return replies.nym(asked, did, reply)

    async def get_attrib(self, did: str, name: str) -> Json | None:
        """See `Registry`."""
        asked = requests.get_attrib(self._local(did), name)
        return replies.attrib(name, await self._pool.ask(asked, codes.DOMAIN))

    async def get_schema(self, schema_id: str) -> Schema | None:
        """See `Registry`."""
        asked = SchemaId.parse(schema_id)
        there = replace(asked, did=local(asked.did, self._namespace))
        found = await self._schemas.get(str(there), partial(self._ask_schema, there))
        if found is None or asked == there:
            return found
        return replace(found, id=str(asked), issuer_id=str(asked.did))

    async def _ask_schema(self, asked: SchemaId) -> Schema | None:
        reply = await self._pool.ask(requests.get_schema(asked), codes.DOMAIN)
        return replies.schema(asked, reply)

    async def get_cred_def(self, cred_def_id: str) -> CredDef | None:
        """See `Registry`."""
        asked = CredDefId.parse(cred_def_id)
        there = replace(asked, did=local(asked.did, self._namespace))
        found = await self._cred_defs.get(str(there), partial(self._ask_cred_def, there))
        if found is None or asked == there:
            return found
        schema = str(SchemaId.parse(found.schema_id).at(None))
        return replace(found, id=str(asked), issuer_id=str(asked.did), schema_id=schema)

    async def _ask_cred_def(self, asked: CredDefId) -> CredDef | None:
        reply = await self._pool.ask(requests.get_cred_def(asked), codes.DOMAIN)
        if reply.get("data") is None:
            return None
        return replies.cred_def(asked, await self._schema_at(asked.schema_seq_no), reply)

    async def _schema_at(self, seq_no: int) -> SchemaId:
        """The schema with this number: one node's hint, confirmed by a read with a proof."""
        reply = await self._pool.hint(requests.get_txn(seq_no))
        hint = replies.schema_hint(self._namespace, reply)
        if hint is not None:
            schema = await self.get_schema(str(hint))
            if schema is not None and schema.seq_no == seq_no:
                return hint
        raise LedgerUnavailableError(f"no node shows a schema with number {seq_no}")

    async def resolve(self, did: str) -> Resolved | None:
        """See `Registry`."""
        return await resolved(self, did)

    async def get_taa(self) -> Taa | None:
        """See `Registry`."""
        return await author_agreement.in_force(self._pool)

    async def prepare(
        self,
        write: Write,
        submitter: str,
        *,
        endorser: str | None = None,
        taa: TaaAcceptance | None = None,
    ) -> Prepared:
        """See `Registry`."""
        subject, author = self._local(target(write)).id, self._local(submitter).id
        if isinstance(write, WriteSchema | WriteCredDef) and subject != author:
            raise BadWriteError("the submitter of a schema or credential definition owns it")
        second = None if endorser is None else self._local(endorser).id
        known = isinstance(write, WriteNym) and await self.get_nym(write.did) is not None
        number = (
            (await write_lookup.cred_def_id(self, write)).schema_seq_no
            if isinstance(write, WriteCredDef)
            else None
        )
        operation = requests.write(write, known=known, schema_seq_no=number)
        request = build_custom_request(
            json.dumps(requests.request(operation, author, second, taa))
        )
        body, signing_input = request.body, request.signature_input
        return Prepared(write, self._namespace, author, second, body, signing_input)

    async def submit(self, prepared: Prepared, signatures: Mapping[str, bytes]) -> Result:
        """See `Registry`."""
        signed = {self._local(did).id: signature for did, signature in signatures.items()}
        if refusal := prepared.unsigned(signed):
            return refusal
        there = await self.find(prepared.write)
        return there or await self._send(prepared, signed)

    async def _send(self, prepared: Prepared, signed: Mapping[str, bytes]) -> Result:
        try:
            request = build_custom_request(prepared.request)
            if len(signed) == 1:
                request.set_signature(signed[prepared.submitter])
            else:
                for did, signature in signed.items():
                    request.set_multi_signature(did, signature)
        except VdrError as error:
            raise BadWriteError(f"what was prepared is not a request: {error}") from error
        try:
            reply = await self._pool.write(request)
        except RequestRefusedError as error:
            return await self._explained(node_refusals.outcome(str(error)))
        return Finished(await self._id(prepared.write), replies.written_at(reply))

    async def _explained(self, refusal: Failed | NeedsSignatures) -> Failed | NeedsSignatures:
        """Add which agreement is in force, if that is the reason of the refusal."""
        if not isinstance(refusal, Failed) or refusal.why is not Why.AGREEMENT:
            return refusal
        try:
            taa = await self.get_taa()
        except LedgerUnavailableError:
            return refusal
        force = f"version {taa.version}, digest {taa.digest}" if taa else "none"
        return Failed(refusal.why, f"{refusal.reason} (in force: {force})")

    async def _id(self, write: Write) -> str:
        if isinstance(write, WriteCredDef):
            return str(await write_lookup.cred_def_id(self, write))
        return write.id if isinstance(write, WriteSchema) else write.did

    async def find(self, write: Write) -> Finished | Failed | None:
        """See `Registry`."""
        return await write_lookup.find(self, write)

    async def confirm(self, write: Write) -> Finished | Failed:
        """See `Registry`."""
        found = await write_lookup.confirm(self, write, _CONFIRM_S)
        if isinstance(found, Finished) and found.seq_no is not None:
            await self._pool.spread(codes.DOMAIN, found.seq_no)
        return found

    def status(self) -> LedgerStatus:
        """See `Registry`."""
        return self._pool.status()

    async def refresh(self) -> LedgerStatus:
        """See `Registry`."""
        return await self._pool.refresh()

    async def close(self) -> None:
        """See `Registry`."""
        await self._pool.close()


def open_ledger(config: LedgerConfig, fetch: Fetch) -> IndyRegistry:
    """Open an Indy network (entry point `indy`); it is contacted by the first question.

    Raises:
        GenesisError: no genesis is configured, or the file that is named is not one.
    """
    try:
        genesis.check_file(config.genesis)
    except GenesisError as error:
        raise GenesisError(
            f"the ledger {config.namespace}: {error}; its `genesis` must name a file or a URL "
            "with the genesis transactions of that network"
        ) from error
    return IndyRegistry(config, fetch)
