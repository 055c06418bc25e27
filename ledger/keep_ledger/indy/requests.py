"""Requests and operations as indy-node reads them (its docs/requests.md), without signatures."""

from __future__ import annotations

import itertools
import json
import time
from typing import assert_never

from keep_ledger.codes import DOMAIN, GET_NYM
from keep_ledger.identifiers import CredDefId, Did, SchemaId
from keep_ledger.interface import TaaAcceptance
from keep_ledger.json_object import Json
from keep_ledger.writes import (
    Write,
    WriteAttrib,
    WriteCredDef,
    WriteNym,
    WriteSchema,
    WriteVerkey,
)

READER = "LibindyDid111111111111"
"""Reads need an author but no signature; this usual one belongs to nobody."""

_numbers = itertools.count(time.time_ns())


def get_nym(did: Did) -> Json:
    """GET_NYM."""
    return {"type": GET_NYM, "dest": did.id}


def get_attrib(did: Did, name: str) -> Json:
    """GET_ATTR of a raw attribute."""
    return {"type": "104", "dest": did.id, "raw": name}


def get_schema(schema: SchemaId) -> Json:
    """GET_SCHEMA."""
    data = {"name": schema.name, "version": schema.version}
    return {"type": "107", "dest": schema.did.id, "data": data}


def get_cred_def(cred_def: CredDefId) -> Json:
    """GET_CRED_DEF."""
    return {
        "type": "108",
        "origin": cred_def.did.id,
        "ref": cred_def.schema_seq_no,
        "signature_type": "CL",
        "tag": cred_def.tag,
    }


def get_txn(seq_no: int, ledger_id: int = DOMAIN) -> Json:
    """GET_TXN."""
    return {"type": "3", "ledgerId": ledger_id, "data": seq_no}


def get_taa(digest: str | None = None) -> Json:
    """GET_TXN_AUTHR_AGRMT: the one in force, or that of a digest."""
    return {"type": "6"} | ({"digest": digest} if digest else {})


def get_aml() -> Json:
    """GET_TXN_AUTHR_AGRMT_AML: the ways to accept."""
    return {"type": "7"}


def write(what: Write, *, known: bool, schema_seq_no: int | None) -> Json:
    """The operation of a write.

    Args:
        what: the write.
        known: for a NYM, whether the DID is on the ledger: then only the role may be named, since naming
            a verkey counts as a change of it, which only its owner may do.
        schema_seq_no: for a credential definition, the schema that it refers to.
    """
    match what:
        case WriteNym():
            return _nym(what, known=known)
        case WriteVerkey():
            return {"type": "1", "dest": Did.parse(what.did).id, "verkey": what.verkey}
        case WriteAttrib():
            return {"type": "100", "dest": Did.parse(what.did).id, "raw": what.raw}
        case WriteSchema():
            names = list(what.attr_names)
            data = {"name": what.name, "version": what.version, "attr_names": names}
            return {"type": "101", "data": data}
        case WriteCredDef():
            data = json.loads(what.value)
            head = {"type": "102", "ref": schema_seq_no, "data": data}
            return head | {"signature_type": "CL", "tag": what.tag}
        case _:
            assert_never(what)


def _nym(what: WriteNym, *, known: bool) -> Json:
    role = what.role.value if what.role else None
    operation: Json = {"type": "1", "dest": Did.parse(what.did).id}
    if known:
        return operation | {"role": role}
    operation["verkey"] = what.verkey
    if role is not None:
        operation["role"] = role
    if what.alias is not None:
        operation["alias"] = what.alias
    return operation


def request(
    operation: Json,
    author: str = READER,
    endorser: str | None = None,
    taa: TaaAcceptance | None = None,
) -> Json:
    """A complete request with a new number."""
    body: Json = {"identifier": author, "reqId": next(_numbers), "protocolVersion": 2}
    body["operation"] = operation
    if endorser is not None:
        body["endorser"] = endorser
    if taa is not None:
        body["taaAcceptance"] = {
            "taaDigest": taa.digest,
            "mechanism": taa.mechanism,
            "time": taa.day,
        }
    return body
