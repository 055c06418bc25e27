"""Check by reading whether a write is on a ledger: before it is sent, or to confirm it."""

from __future__ import annotations

import asyncio
import json
from typing import assert_never

from keep_ledger.errors import BadWriteError, LedgerUnavailableError
from keep_ledger.identifiers import CredDefId, Did
from keep_ledger.interface import Failed, Finished, Registry, Why
from keep_ledger.writes import (
    Write,
    WriteAttrib,
    WriteCredDef,
    WriteNym,
    WriteSchema,
    WriteVerkey,
    target,
)

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


async def find(registry: Registry, write: Write) -> Finished | Failed | None:
    """Implement `Registry.find` with the registry's own reads.

    Raises:
        LedgerUnavailableError: a read got no trustworthy answer.
    """
    match write:
        case WriteNym():
            return await _nym(registry, write)
        case WriteVerkey():
            nym = await registry.get_nym(write.did)
            there = nym is not None and nym.verkey == write.verkey
            return Finished(write.did, nym.seq_no) if nym and there else None
        case WriteAttrib():
            value = await registry.get_attrib(write.did, write.name)
            return Finished(write.did, None) if value == json.loads(write.raw) else None
        case WriteSchema():
            return await _schema(registry, write)
        case WriteCredDef():
            return await _cred_def(registry, write)
        case _:
            assert_never(write)


async def _nym(registry: Registry, write: WriteNym) -> Finished | Failed | None:
    nym = await registry.get_nym(write.did)
    if nym is None:
        return None
    if nym.verkey != write.verkey:
        return Failed(Why.CONFLICT, f"{write.did} is on the ledger with another verkey")
    return Finished(write.did, nym.seq_no) if nym.role == write.role else None


async def _schema(registry: Registry, write: WriteSchema) -> Finished | Failed | None:
    schema = await registry.get_schema(write.id)
    if schema is None:
        return None
    if set(schema.attr_names) != set(write.attr_names):
        has = ", ".join(schema.attr_names)
        return Failed(Why.CONFLICT, f"{write.id} is on the ledger with other attributes: {has}")
    return Finished(write.id, schema.seq_no)


async def _cred_def(registry: Registry, write: WriteCredDef) -> Finished | Failed | None:
    name = str(await cred_def_id(registry, write))
    there = await registry.get_cred_def(name)
    if there is None:
        return None
    if json.loads(there.value) != json.loads(write.value):
        return Failed(Why.CONFLICT, f"{name} is on the ledger with other keys")
    return Finished(name, there.seq_no)


async def cred_def_id(registry: Registry, write: WriteCredDef) -> CredDefId:
    """The id that this definition will have, in the form of its `issuer_id`.

    Raises:
        BadWriteError: its schema is not on this ledger.
    """
    schema = await registry.get_schema(write.schema_id)
    if schema is None:
        raise BadWriteError(f"the schema {write.schema_id} is not on {registry.namespace}")
    return CredDefId(Did.parse(write.issuer_id), schema.seq_no, write.tag)


async def confirm(registry: Registry, write: Write, patience_s: float) -> Finished | Failed:
    """Read until the write is visible.

    Args:
        registry: where it was written.
        write: what was written.
        patience_s: how long to read.

    Raises:
        LedgerUnavailableError: it was not visible in time, or no read was answered.
    """
    pause = _FIRST_PAUSE_S
    try:
        async with asyncio.timeout(patience_s):
            while (found := await find(registry, write)) is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            return found
    except TimeoutError as error:
        text = f"the write about {target(write)} was not visible within {patience_s:g} s"
        raise LedgerUnavailableError(text) from error
