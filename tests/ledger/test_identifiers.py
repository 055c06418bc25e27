"""Both forms of an id name one object, and nothing else passes."""

from __future__ import annotations

from contextlib import suppress

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keep_ledger.errors import BadIdError
from keep_ledger.identifiers import (
    CredDefId,
    Did,
    SchemaId,
    check_new_part,
    full_verkey,
    local,
    parse,
    qualify,
    unqualify,
)

DID = "WgWxqztrNooG92RXvxSTWv"
BASE = f"did:indy:bcovrin:test:{DID}/anoncreds/v0"

dids = st.binary(min_size=16, max_size=16).map(lambda raw: base58.b58encode(raw).decode())
namespaces = st.sampled_from([None, "sovrin", "bcovrin:test", "local_1", "net:2", "net:3"])
names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
plain = st.text(
    st.characters(exclude_characters=":/?#", exclude_categories=("Cc", "Cs", "Z")),
    min_size=1,
    max_size=40,
)
places = st.builds(Did, dids, namespaces)


@given(
    st.one_of(
        places,
        st.builds(SchemaId, places, names, plain),
        st.builds(CredDefId, places, st.integers(1, 2**31 - 1), names),
    )
)
def test_an_id_reads_back_in_both_forms(found: Did | SchemaId | CredDefId) -> None:
    text = str(found)
    assert parse(text) == found
    assert parse(qualify(text, "x")) == (found if "did:indy" in text else found.at("x"))
    assert parse(unqualify(text)) == found.at(None)


@given(st.text(max_size=60))
def test_any_text_is_an_id_or_refused(text: str) -> None:
    with suppress(BadIdError):
        assert unqualify(str(parse(text))) == unqualify(text)


@pytest.mark.parametrize(
    ("qualified", "old"),
    [
        (f"did:indy:bcovrin:test:{DID}", DID),
        (f"{BASE}/SCHEMA/driving licence/1.0", f"{DID}:2:driving licence:1.0"),
        (f"{BASE}/CLAIM_DEF/12/default", f"{DID}:3:CL:12:default"),
        (f"{BASE}/SCHEMA/Degree/2026/1.0", f"{DID}:2:Degree/2026:1.0"),
        (f"{BASE}/SCHEMA/li:cence/1.0", f"{DID}:2:li:cence:1.0"),
        (f"{BASE}/SCHEMA/Card /1.0", f"{DID}:2:Card :1.0"),
        (f"{BASE}/SCHEMA/C# developer/1.0", f"{DID}:2:C# developer:1.0"),
        (f"{BASE}/CLAIM_DEF/12/https://x.example#y", f"{DID}:3:CL:12:https://x.example#y"),
        (f"{BASE}/CLAIM_DEF/12/2026/1", f"{DID}:3:CL:12:2026/1"),
    ],
)
def test_the_forms_correspond(qualified: str, old: str) -> None:
    assert qualify(old, "bcovrin:test") == qualified
    assert unqualify(qualified) == old
    assert qualify(qualified, "sovrin") == qualified


@pytest.mark.parametrize("text", ["a/b", "a:b", "C#", "a?b", " a", "a ", "a\n", "", "x" * 257])
def test_a_name_that_others_read_otherwise_is_not_given(text: str) -> None:
    with pytest.raises(BadIdError, match="tag"):
        check_new_part(text, "tag")


@given(st.lists(st.builds(SchemaId, places, names, plain), min_size=2, max_size=2))
def test_two_schemas_never_have_one_id(pair: list[SchemaId]) -> None:
    one, other = pair
    assert (str(one) == str(other)) == (one == other)


def test_did_sov_is_the_bare_id() -> None:
    assert unqualify(f"did:sov:{DID}") == DID
    assert qualify(f"did:sov:{DID}", "sovrin") == f"did:indy:sovrin:{DID}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        DID + "1" * 30,
        f"did:key:{DID}",
        f"did:indy:{DID}",
        f"did:indy:UPPER:{DID}",
        f"did:indy:a:b:c:{DID}",
        f"{DID}:2:licence",
        f"{DID}:2::1.0",
        f"{DID}:2:licence: 1.0",
        f"{DID}:2:licence:1.0/2",
        f"{DID}:2:licence:",
        f"{DID}:2:licence\n:1.0",
        f"{DID}:2:{'x' * 257}:1.0",
        f"{BASE}/SCHEMA//1.0",
        f"{BASE}/SCHEMA/1.0",
        f"{BASE}/CLAIM_DEF/12/",
        f"{BASE}/CLAIM_DEF/12/line\nbreak",
        f"{DID}:3:CL:12:",
        f"{BASE}/SCHEMA/licence",
        f"{BASE}/SCHEMA/licence/1.0?x",
        f"{BASE}/schema/licence/1.0",
        f"did:indy:sovrin:{DID}/anoncreds/v1/SCHEMA/licence/1.0",
        f"{BASE}/CLAIM_DEF/0/default",
        f"{BASE}/CLAIM_DEF/012/default",
        f"{BASE}/CLAIM_DEF/9999999999/default",
        f"{BASE}/CLAIM_DEF/\u0661/default",
        f"{DID}:3:CL:{DID}:2:licence:1.0:default",
        f"{DID}:3:XX:12:default",
        f"{DID}:SCHEMA:licence:1.0",
        f"{DID}:CLAIM_DEF:12:default",
        f"did:sov:{DID}:2:licence:1.0",
        f"{BASE}/2/licence/1.0",
        f"{BASE}/3/CL/12/default",
        f"{DID}:3:CL:12",
        f"{DID}:4:{DID}:3:CL:12:default:CL_ACCUM:1",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(BadIdError):
        parse(text)


def test_an_abbreviated_verkey_completes_the_did() -> None:
    full = "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"
    assert full_verkey("~CoRER63DVYnWZtK8uAzNbx", "V4SGRU86Z58d6TV7PBUe6f") == full
    assert full_verkey(full, DID) == full
    for bad in ("~", "~" + full, "", full[:-1] + "0", DID):
        with pytest.raises(BadIdError):
            full_verkey(bad, DID)


def test_a_did_of_another_network_is_not_local() -> None:
    assert local(Did(DID), "sovrin") == Did(DID, "sovrin")
    with pytest.raises(BadIdError):
        local(Did(DID, "sovrin"), "bcovrin:test")
