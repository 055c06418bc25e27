"""A write that exists is within the ledger's limits, and survives JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from keep_ledger.codes import Role
from keep_ledger.errors import BadWriteError
from keep_ledger.testing.conformance import CRED_DEF, Person
from keep_ledger.writes import (
    Write,
    WriteAttrib,
    WriteCredDef,
    WriteNym,
    WriteSchema,
    WriteVerkey,
    write_from_json,
    write_to_json,
)

ME = Person.new()
SCHEMA = f"{ME.did}:2:licence:1.0"
WRITES: list[Write] = [
    WriteNym(ME.did, ME.verkey, Role.STEWARD, "licence office"),
    WriteNym(f"did:indy:local:{ME.did}", ME.verkey),
    WriteVerkey(ME.did, ME.verkey),
    WriteAttrib.endpoint(ME.did, "https://a.example/x", (ME.verkey,)),
    WriteAttrib.endpoint(ME.did, "https://bücher.example/grüße"),
    WriteSchema(ME.did, "licence", "1.0.2", ("name", "größe")),
    WriteCredDef.from_anoncreds(CRED_DEF),
]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: type(write).__name__)
def test_a_write_survives_json(write: Write) -> None:
    assert write_from_json(json.loads(json.dumps(write_to_json(write)))) == write


def test_json_gives_a_role_back_as_a_role() -> None:
    read = write_from_json(write_to_json(WRITES[0]))
    assert isinstance(read, WriteNym)
    assert read.role is Role.STEWARD


BAD: list[Callable[[], Any]] = [
    lambda: WriteNym("nobody", ME.verkey),
    lambda: WriteNym(ME.did, "~CoRER63DVYnWZtK8uAzNbx"),
    lambda: WriteNym(ME.did, ME.did),
    lambda: WriteNym(ME.did, ME.verkey, alias="a|role:0"),
    lambda: WriteNym(ME.did, ME.verkey, alias=""),
    lambda: WriteVerkey(ME.did, ""),
    lambda: WriteAttrib(ME.did, "no JSON"),
    lambda: WriteAttrib(ME.did, "[]"),
    lambda: WriteAttrib(ME.did, '{"a": 1, "b": 2}'),
    lambda: WriteAttrib(ME.did, json.dumps({"a": "x" * 6000})),
    lambda: WriteAttrib.endpoint(ME.did, "example.org"),
    lambda: WriteAttrib.endpoint(ME.did, "didcomm:transport/queue"),
    lambda: WriteAttrib.endpoint(ME.did, " https://a.example"),
    lambda: WriteAttrib.endpoint(ME.did, "https://a.example/x\n"),
    lambda: WriteAttrib.endpoint(ME.did, "https://a.example/a b"),
    lambda: WriteAttrib.endpoint(ME.did, "https://[a.example"),
    lambda: WriteSchema(ME.did, "a:b", "1.0", ("a",)),
    lambda: WriteSchema(ME.did, "a|b", "1.0", ("a",)),
    lambda: WriteSchema(ME.did, "a", "1", ("a",)),
    lambda: WriteSchema(ME.did, "a", "1.0.0.0", ("a",)),
    lambda: WriteSchema(ME.did, "a", "1.0", ()),
    lambda: WriteSchema(ME.did, "a", "1.0", ("a", "a")),
    lambda: WriteSchema(ME.did, "a", "1.0", ("given,family",)),
    lambda: WriteSchema(ME.did, "a", "1.0", tuple(str(n) for n in range(126))),
    lambda: WriteCredDef(ME.did, "no schema", "t", '{"primary": {}}'),
    lambda: WriteCredDef(ME.did, SCHEMA, "", '{"primary": {}}'),
    lambda: WriteCredDef(ME.did, SCHEMA, "t", "{}"),
    lambda: WriteCredDef(ME.did, SCHEMA, "t", "no JSON"),
    lambda: WriteCredDef.from_anoncreds(CRED_DEF | {"type": "PS"}),
    lambda: WriteCredDef.from_anoncreds({"type": "CL"}),
    lambda: WriteCredDef.from_anoncreds(CRED_DEF | {"value": None}),
    lambda: write_from_json({"kind": "nym"}),
    lambda: write_from_json({"kind": "node"}),
    lambda: write_from_json({}),
    lambda: write_from_json({"kind": "nym", "did": ME.did, "verkey": ME.verkey, "role": "7"}),
]


@pytest.mark.parametrize("make", BAD)
def test_a_write_beyond_the_limits_cannot_be_made(make: Callable[[], Any]) -> None:
    with pytest.raises(BadWriteError):
        make()


def test_an_empty_revocation_key_is_left_out() -> None:
    value = CRED_DEF["value"] | {"revocation": None}
    assert WriteCredDef.from_anoncreds(CRED_DEF | {"value": value}) == WRITES[-1]
