"""Requests are read strictly, so that what is shown is what is signed."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import base58
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indy_vdr.ledger import build_custom_request
from ledger.multisig.sample_proposals import ANA, BEN, NYM, body, request

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.describe_request import describe
from keep_ledger.multisig.proposal.request_decoder import decode
from keep_ledger.multisig.proposal.signing_input import signing_input

DID, NODE = NYM["dest"], base58.b58encode(bytes(range(32))).decode()
SHA = "ab" * 32
KEY = {"auth_type": "1", "auth_action": "ADD", "field": "role", "new_value": "101"}
TWO = {"constraint_id": "ROLE", "role": "0", "sig_count": 2}
G = "1 0A 1 2"
NAMES = ("g", "g_dash", "h", "h0", "h1", "h2", "htilde", "h_cap", "u", "pk", "y")
PRIMARY = {"n": "1", "s": "2", "r": {"master_secret": "3", "age": "4"}, "rctxt": "5", "z": "6"}
REGISTRY = {
    "issuanceType": "ISSUANCE_BY_DEFAULT",
    "maxCredNum": 8,
    "publicKeys": {"accumKey": {"z": G}},
    "tailsHash": "1" * 44,
    "tailsLocation": "https://a.example/tails",
}
SCHEMA: Json = {"name": "licence", "version": "1.0", "attr_names": ["given", "family", "ssn"]}
ENTRY = {"accum": G, "prevAccum": G, "issued": [1, 2], "revoked": [3]}
PLACE = {"node_ip": "10.0.0.1", "node_port": 1, "client_ip": "10.0.0.1", "client_port": 2}
GOOD: list[Json] = [
    NYM,
    NYM | {"role": None, "verkey": f"~{DID}", "alias": "Zoë"},
    {"type": "100", "dest": DID, "raw": '{"endpoint": {"endpoint": "https://ä.example"}}'},
    {"type": "101", "data": SCHEMA},
    {"type": "102", "ref": 9, "signature_type": "CL", "tag": "t"}
    | {"data": {"primary": PRIMARY, "revocation": dict.fromkeys(NAMES, G)}},
    {"type": "113", "id": "a:4:b:3:CL:9:t:CL_ACCUM:r", "revocDefType": "CL_ACCUM", "tag": "r"}
    | {"credDefId": "a:3:CL:9:t", "value": REGISTRY},
    {"type": "114", "revocRegDefId": "a:4", "revocDefType": "CL_ACCUM", "value": ENTRY},
    {"type": "0", "dest": NODE, "data": {"alias": "N1", "services": []} | PLACE},
    {
        "type": "4",
        "version": "2",
        "text": "Be kind: always, and\nto all.",
        "ratification_ts": 1,
    },
    {"type": "4", "version": "2", "retirement_ts": 1},
    {"type": "5", "version": "2", "aml": {"click": "a, b: c"}, "amlContext": "d"},
    {"type": "8"},
    {"type": "120", **KEY, "constraint": TWO},
    {"type": "122", "rules": [KEY | {"constraint": {"constraint_id": "FORBIDDEN"}}]},
    {"type": "109", "action": "start", "name": "n", "version": "1.2", "sha256": SHA}
    | {"schedule": {NODE: "2030-01-01T00:00:00.0+00:00"}, "timeout": 1, "force": False},
    {"type": "111", "writes": False, "force": True},
    {"type": "1", "dest": DID, "verkey": NODE, "diddocContent": '{"service":[]}', "version": 2},
]
TAA = {"taaDigest": SHA, "mechanism": "click", "time": 1_700_006_400}


@pytest.mark.parametrize("operation", GOOD, ids=lambda one: one["type"])
def test_what_is_signed_is_what_the_ledgers_library_signs(operation: Json) -> None:
    full: Json = {"endorser": BEN.did, "taaAcceptance": TAA}
    for more in ({}, full):
        whole = request(operation, **more)
        assert (
            decode(whole).signing_input
            == build_custom_request(json.dumps(whole)).signature_input
        )
        assert describe(decode(whole), {"exists": False}).headline


def changed(operation: Json, path: str, value: Any) -> Json:
    """With another value at a place; `...` takes it away."""
    name, _, rest = path.partition(".")
    inner = changed(operation[name], rest, value) if rest else value
    return {k: v for k, v in (operation | {name: inner}).items() if v is not ...}


BAD: list[tuple[int, str, Any]] = [
    (0, "role", ""),
    (0, "role", 101),
    (0, "role", ["101"]),
    (0, "verkey", None),
    (0, "verkey", ""),
    (0, "alias", "a|role:0"),
    (0, "alias", "a\u202e"),
    (0, "alias", "a\u3164"),
    (0, "alias", "e\u0301"),
    (0, "dest", f"1{DID}"),
    (0, "unknown", 1),
    (0, "diddocContent", "{}"),
    (2, "raw", ...),
    (2, "raw", "{}"),
    (2, "raw", '{"a":1,"a":2}'),
    (2, "raw", '{"a":{"b":1,"b":2}}'),
    (2, "raw", '{"a":1,"b":2}'),
    (2, "raw", "[" * 5000),
    (2, "raw", '{"a":' + "9" * 5000 + "}"),
    (2, "hash", SHA),
    (2, "enc", "x"),
    (3, "data.attr_names", ["given,family,ssn"]),
    (3, "data.attr_names", "given,family,ssn"),
    (3, "data.attr_names", ["a", "a"]),
    (3, "data.name", "a|version:1.0"),
    (3, "data.version", "1.0|type:101"),
    (4, "ref", "9"),
    (4, "ref", True),
    (4, "data.primary.n", 1),
    (4, "data.primary.x", "1"),
    (5, "value.tailsLocation", "a|b:c"),
    (6, "value.issued", [10**5000]),
    (6, "value.issued", ["1"]),
    (7, "data.services", ["OBSERVER"]),
    (7, "data.services", None),
    (7, "data.node_port", "1"),
    (8, "retirement_ts", 1),
    (8, "ratification_ts", ...),
    (8, "ratification_ts", (1 << 53) - 1),
    (9, "retirement_ts", ...),
    (10, "aml", {}),
    (10, "aml", {"a:b": "c"}),
    (12, "constraint.metadata", {"note": "x"}),
    (12, "constraint.role", ""),
    (12, "constraint.sig_count", True),
    (12, "constraint.sig_count", "2"),
    (12, "constraint.need_to_be_owner", "False"),
    (12, "constraint.unknown", 1),
    (12, "old_value", "0"),
    (12, "auth_action", "EDIT"),
    (13, "rules", []),
    (13, "rules", GOOD[13]["rules"] * 2),
    (14, "justification", "x"),
    (14, "schedule", {DID: "soon"}),
    (14, "force", "True"),
    (15, "writes", 0),
    (16, "role", None),
    (16, "diddocContent", ""),
    (16, "diddocContent", None),
    (16, "diddocContent", "[]"),
    (16, "diddocContent", {"service": []}),
    (16, "diddocContent", '{"a":1,"a":2}'),
    (16, "diddocContent", '{"a":"|role:0"}'),
    (16, "version", "2"),
    (16, "version", 3),
    (16, "version", True),
]


@pytest.mark.parametrize(("number", "path", "value"), BAD, ids=range(len(BAD)))
def test_what_could_mean_something_else_is_refused(number: int, path: str, value: Any) -> None:
    with pytest.raises(RefusedError):
        signing_input(decode(request(changed(GOOD[number], path, value))).body)


@pytest.mark.parametrize(
    "more",
    [
        {"reqId": True},
        {"reqId": "1"},
        {"reqId": 0},
        {"reqId": 1 << 63},
        {"protocolVersion": 2.0},
        {"protocolVersion": "2"},
        {"endorser": None},
        {"taaAcceptance": None},
        {"taaAcceptance": TAA | {"time": 86400 * 10**12}},
        {"taaAcceptance": TAA | {"mechanism": "a|b:c"}},
        {"signature": "x"},
        {"signatures": {}},
        {"\x1b[2J": 1},
    ],
)
def test_an_envelope_of_another_shape_is_refused(more: Json) -> None:
    with pytest.raises(RefusedError) as refused:
        decode(request(NYM) | more).signing_input  # noqa: B018
    assert str(refused.value).isprintable()


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=120)
@given(st.sampled_from(GOOD), st.data())
def test_nothing_that_is_json_crashes_the_reader(operation: Json, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(operation)) | st.text(max_size=5))
    with contextlib.suppress(RefusedError):
        read = decode(request(operation | {name: data.draw(JSONS)}))
        assert describe(read, {}).facts
        assert read.digest


def test_a_proposal_needs_its_author_and_endorser_among_those_who_sign() -> None:
    with pytest.raises(ValueError, match="must sign and is not a cosigner"):
        body(request=request(NYM, ANA.did, endorser=DID))


UPGRADE: Json = {
    "type": "109",
    "name": "n",
    "version": "1.1.212",
    "action": "start",
    "sha256": SHA,
    "schedule": {NODE: "2026-12-01T10:00:00+00:00"},
    "force": False,
    "timeout": 15,
}
FIELD: dict[str, tuple[Json, str]] = {
    "ms-06c-taa-bar": (
        {"type": "4", "text": "who | may", "version": "3.0", "ratification_ts": 1764115200},
        "text has '|' at line 1, character 5, .*: write it otherwise",
    ),
    "ms-08-pool-upgrade": (
        UPGRADE | {"package": "sovrin", "reinstall": False},
        "package and reinstall together .*: leave one out",
    ),
    "ms-10-pool-restart": (
        {"type": "118", "action": "start", "datetime": "2026-12-01T10:00:00+00:00"},
        r"type '118' cannot be reviewed here; these can: 1 \(NYM\), 100 \(ATTRIB\)",
    ),
    "ms-11-aml": (
        {"type": "5", "version": "2.0", "aml": {"a": "b"}, "amlContext": "https://x?a=1|b"},
        "amlContext has '|' at line 1, character 14",
    ),
    "ms-13-schema-spaces-comma": (
        {"type": "101", "data": {"name": "M", "version": "1.5.1", "attr_names": ["a, b"]}},
        "data.attr_names.0 has ',' at line 1, character 2",
    ),
    "ms-16-ledgers-freeze": ({"type": "9", "ledgers_ids": [1001]}, "type '9' cannot be"),
    "a role as number": (
        {"type": "1", "dest": DID, "role": 101},
        "role must be '0', '2', '101' or '201'",
    ),
    "an object for text": (
        {"type": "1", "dest": DID, "verkey": NODE, "diddocContent": {"service": []}},
        "diddocContent must be text",
    ),
    "a time as text": (
        {"type": "4", "text": "a", "version": "3.0", "ratification_ts": "1764115200"},
        "ratification_ts must be a whole number, not in quotes",
    ),
    "unknown": ({"type": "1", "dest": DID, "fees": 1}, "fees is not known here: leave it out"),
    "missing": ({"type": "1", "role": "101"}, "dest is missing"),
}


@pytest.mark.parametrize("case", FIELD)
def test_a_refusal_says_where_what_and_what_to_do(case: str) -> None:
    operation, words = FIELD[case]
    with pytest.raises(RefusedError, match=words):
        decode(request(operation))
