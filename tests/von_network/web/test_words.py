"""Transactions, rules and the state of nodes in plain words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_network import NAMES as NODES
from fake_network import RECORDED, recorded
from hypothesis import given
from hypothesis import strategies as st

from keep_network.web import network, rules
from keep_network.web.cards import Card, Teller
from keep_network.web.health import Pulse
from keep_network.web.store import Row
from keep_network.web.transactions import NAMES, Transaction

LEDGERS = {"pool": 0, "domain": 1, "config": 2}
TELLER = Teller({26: "Degree 1.0"}.get)


def card(txn: Any, ledger: int, *, first: bool = True) -> Card:
    told = Transaction(txn)
    checks = {"first": first, "path": True, "signed": [{"by": "x", "good": True, "why": "y"}]}
    return TELLER.card(
        Row(
            ledger, told.seq, told.id, told.type, told.time, 0, told.author, told.endorser,
            told.subject, json.dumps(txn), json.dumps(checks),
        )
    )  # fmt: skip


def said(txn: Any, ledger: int = 1, *, first: bool = True) -> str:
    parts = card(txn, ledger, first=first).headline
    return "".join(part if isinstance(part, str) else part.text for part in parts)


@pytest.mark.parametrize(
    ("name", "number", "first", "sentence"),
    [
        ("domain", 1, True, "The genesis made V4SGRU86Z58d6TV7PBUe6f a trustee"),
        ("domain", 6, False, "V4SGRU86Z58d6TV7PBUe6f confirmed V4SGRU86Z58d6TV7PBUe6f and changed nothing"),
        ("domain", 21, True, "V4SGRU86Z58d6TV7PBUe6f registered WECXqEbMeftPZBRP34U7rG as an endorser"),
        ("domain", 21, False, "V4SGRU86Z58d6TV7PBUe6f gave WECXqEbMeftPZBRP34U7rG a new key"),
        ("domain", 26, True, "WECXqEbMeftPZBRP34U7rG published the schema Degree 1.0"),
        ("domain", 27, True, "WECXqEbMeftPZBRP34U7rG set an attribute of itself"),
        ("domain", 29, True, "WECXqEbMeftPZBRP34U7rG published a credential definition for Degree 1.0"),
        ("domain", 30, True, "WECXqEbMeftPZBRP34U7rG opened a revocation registry"),
        ("domain", 31, True, "WECXqEbMeftPZBRP34U7rG published the state of a revocation registry"),
        ("domain", 32, False, "WECXqEbMeftPZBRP34U7rG revoked 3 credentials"),
        ("domain", 34, False, "Lbc4pJAQU4MwHPyZ2rkJZ1 changed its key"),
        ("pool", 1, True, "Th7MpTaRZVRYnPiabds81Y added the node Node1"),
        ("config", 1, True, "V4SGRU86Z58d6TV7PBUe6f listed the acceptance mechanisms of the author agreement"),
        ("config", 2, True, "V4SGRU86Z58d6TV7PBUe6f adopted the author agreement 1.0"),
        ("config", 3, True, "V4SGRU86Z58d6TV7PBUe6f set 1 rule"),
    ],
)  # fmt: skip
def test_what_was_written_is_a_sentence(
    *, name: str, number: int, first: bool, sentence: str
) -> None:
    assert said(recorded(name, number), LEDGERS[name], first=first) == sentence


def test_a_card_names_the_endorser_and_leads_to_everybody() -> None:
    made = card(recorded("domain", 28), 1)
    assert made.endorser is not None
    assert made.endorser.href == "/did/WECXqEbMeftPZBRP34U7rG"
    assert made.author is not None
    assert made.author.href == "/did/BwkEp1jLdUR2p76pNPSwof"
    assert made.href == "/browse/domain/28"
    assert made.signed is True
    assert [fact.value for fact in made.facts] == [
        "course, grade",
        "BwkEp1jLdUR2p76pNPSwof:2:Transcript:1.0",
    ]


def test_a_schema_that_is_not_known_is_named_by_its_number() -> None:
    txn = recorded("domain", 29)
    txn["txn"]["data"]["ref"] = 99
    assert said(txn).endswith("for schema 99")


def test_taking_a_node_out_is_said() -> None:
    txn = recorded("pool", 4)
    txn["txn"]["data"]["data"]["services"] = []
    assert said(txn, 0, first=False).endswith("took the node Node4 out of the consensus")


@pytest.mark.parametrize("signed", [[], [None], [{"good": None}], "x"])
def test_what_nobody_can_tell_is_not_called_verified(signed: Any) -> None:
    txn = Transaction(recorded("domain", 1))
    checks = json.dumps({"signed": signed})
    row = Row(1, 1, "", "1", 0, 0, "", "", "", json.dumps(txn.raw), checks)
    assert TELLER.card(row).signed is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "dest",
    "role",
    "verkey",
    "alias",
    "raw",
    "data",
    "ref",
    "tag",
    "value",
    "rules",
    "id",
)
DATA = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)) | JSON


@given(
    kind=st.sampled_from(list(NAMES)) | st.text(),
    data=DATA,
    metadata=JSON,
    values=JSON,
    first=st.booleans(),
)
def test_no_transaction_is_too_strange_to_be_shown(
    kind: str, data: Any, metadata: Any, values: Any, *, first: bool
) -> None:
    txn = {
        "txn": {"type": kind, "data": data, "metadata": metadata},
        "txnMetadata": metadata,
        "reqSignature": {"values": values},
    }
    assert isinstance(said(txn, first=first), str)
    assert isinstance(Transaction(txn).words, str)


RULES = rules.read(RECORDED["rules"])


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        ("DIDs and roles", "A trustee may register a trustee."),
        ("DIDs and roles", "A trustee or a steward or an endorser may register a DID without a role."),
        ("DIDs and roles", "The owner may change the key of a DID."),
        ("Schemas and credentials", "Nobody may change a schema."),
        ("Nodes", "A trustee or a steward who owns it may take a node out of the consensus."),
        ("Nodes", "A steward who owns it may change the BLS key of a node."),
        ("Author agreement", "A trustee may retire all agreements."),
        ("The network itself", "Three trustees together may change which ledgers are frozen."),
        ("Change of roles", "A trustee may turn an endorser into a DID without a role."),
    ],
)  # fmt: skip
def test_a_rule_is_a_sentence(topic: str, sentence: str) -> None:
    assert sentence in [rule.sentence for rule in RULES[topic]]


def test_every_rule_of_a_real_pool_has_its_own_sentence() -> None:
    told = [rule.sentence for listed in RULES.values() for rule in listed]
    assert len(told) == len(RECORDED["rules"])
    assert len(set(told)) == len(told)
    assert not [one for one in told if "does not know" in one or "role " in one.split("may")[0]]


@pytest.mark.parametrize(
    ("constraint", "who"),
    [
        ({"constraint_id": "ROLE", "role": "101", "sig_count": 2}, "two endorsers together"),
        ({"constraint_id": "ROLE", "role": "*", "sig_count": 1}, "anybody with a DID on the ledger"),
        ({"constraint_id": "ROLE", "role": "77", "sig_count": 1}, "a role 77"),
        ({"constraint_id": "AND", "auth_constraints": [
            {"constraint_id": "ROLE", "role": "0", "sig_count": 1},
            {"constraint_id": "ROLE", "role": "2", "sig_count": 3},
        ]}, "a trustee and three stewards together"),
        ({"constraint_id": "OR", "auth_constraints": []}, "nobody"),
        ({"constraint_id": "NEW"}, "somebody (a rule that this page does not know)"),
        (None, "somebody (a rule that this page does not know)"),
    ],
)  # fmt: skip
def test_who_satisfies_a_constraint(constraint: Any, who: str) -> None:
    assert rules.who(constraint) == who


@given(st.lists(JSON))
def test_strange_rules_do_not_break_the_page(told: list[Any]) -> None:
    assert sum(map(len, rules.read(told).values())) == len(told)


def pulses(*up: bool, sizes: tuple[int, ...] = (9, 9, 9, 9)) -> list[Pulse]:
    return [
        Pulse(name, one, 5.4 if one else None, size if one else None, 0)
        for name, one, size in zip(NODES, up, sizes, strict=True)
    ]


@pytest.mark.parametrize(
    ("up", "mood", "headline", "more"),
    [
        ((True,) * 4, "good", "All 4 nodes answer", "Reads and writes work."),
        ((True, True, True, False), "warning", "3 of 4 nodes answer", "3 nodes are enough to write"),
        ((True, False, True, False), "bad", "2 of 4 nodes answer", "until one more node is back"),
        ((True, False, False, False), "bad", "1 of 4 nodes answer", "until 2 more nodes are back"),
        ((False,) * 4, "bad", "0 of 4 nodes answer", "Nothing can be read"),
    ],
)  # fmt: skip
def test_the_state_of_the_network_says_what_still_works(
    up: tuple[bool, ...], mood: str, headline: str, more: str
) -> None:
    view = network.overview(pulses(*up), {})
    assert (view.mood, view.headline) == (mood, headline)
    assert more in view.more


def test_a_node_that_lags_says_by_how_much() -> None:
    view = network.overview(pulses(*(True,) * 4, sizes=(9, 9, 7, 9)), {})
    assert [node.words for node in view.nodes].count("up to date") == 3
    assert (view.nodes[2].state, view.nodes[2].words) == ("behind", "2 transactions behind")


def test_the_primary_is_that_of_the_highest_view() -> None:
    def info(name: str, view: int, primary: str) -> Any:
        replicas = {f"{name}:0": {"Primary": f"{primary}:0"}}
        return {
            "Node_info": {"View_change_status": {"View_No": view}, "Replicas_status": replicas}
        }

    told = {"Node1": info("Node1", 0, "Node1"), "Node2": info("Node2", 1, "Node2")}
    view = network.overview(pulses(*(True,) * 4), told)
    assert [node.name for node in view.nodes if node.primary] == ["Node2"]


@given(st.dictionaries(st.sampled_from(NODES), JSON))
def test_whatever_nodes_say_of_themselves_is_shown_or_left_out(told: dict[str, Any]) -> None:
    assert len(network.overview(pulses(*(True,) * 4), told).nodes) == 4
