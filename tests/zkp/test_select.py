"""Which credential answers, and why another does not."""

from __future__ import annotations

import pytest
from zkp.kit import Desk, ask, bar_question, cred_def_id, held, over_18, source

from keep_zkp.errors import RefusedError
from keep_zkp.holder import Chosen
from keep_zkp.requests import Attribute, read_request, reveal
from keep_zkp.restrictions import read
from keep_zkp.select import Held, narrow, select


def wallet(*names: str) -> list[Held]:
    """Return credentials of the vectors as the wallet indexes them."""
    found: list[Held] = []
    for name in names:
        credential = held(name)
        found.append(
            Held(
                credential_id=name,
                cred_def_id=credential["cred_def_id"],
                schema_id=credential["schema_id"],
                issuer_id="V4SGRU86Z58d6TV7PBUe6f",
                values={key: value["raw"] for key, value in credential["values"].items()},
            )
        )
    return found


def test_one_credential_that_answers_all_is_chosen() -> None:
    selection = select(bar_question(), wallet("child", "alice_card", "alice"))
    assert selection.complete
    assert set(selection.chosen.values()) == {"alice"}


def test_a_child_is_told_why_no_credential_fits() -> None:
    selection = select(bar_question(), wallet("child"))
    assert selection.missing == ("adult",)
    why = next(each.why for each in selection.misfits if each.referent == "adult")
    assert why.startswith("birthdate_dateint 20140101 is not <= 20081122")


def test_why_not_is_not_in_what_gets_logged() -> None:
    selection = select(bar_question(), wallet("child"))
    assert "20140101" not in repr(selection)
    assert "Bob" not in repr(wallet("child"))


def test_another_kind_of_credential_does_not_fit() -> None:
    selection = select(bar_question(), wallet("alice_learner", "alice_card"))
    assert set(selection.missing) == {"category", "person", "adult"}
    reasons = {(each.credential_id, each.referent): each.why for each in selection.misfits}
    assert "schema or issuer is not" in reasons["alice_learner", "category"]
    assert reasons["alice_card", "category"] == "it has no 'category'"


def test_a_group_is_answered_by_one_credential() -> None:
    asked = ask({"g": reveal("name", "level", source=source("licence"))})
    assert select(asked, wallet("alice", "alice_card")).missing == ("g",)


@pytest.mark.parametrize(
    ("raw", "fits"),
    [
        ("20081122", True),
        ("20081123", False),
        ("-5", True),
        ("020081122", True),
        ("+20081123", False),
        ("x", False),
    ],
)
def test_predicates_are_tried_on_the_number_that_is_signed(raw: str, *, fits: bool) -> None:
    credential = Held("x", cred_def_id("licence"), "s", "i", {"Birthdate_dateint": raw})
    assert select(ask({}, {"adult": over_18()}), [credential]).complete is fits


def test_value_restrictions_look_at_the_held_values() -> None:
    wanted = read({"cred_def_id": cred_def_id("licence"), "attr::category::value": "B"})
    asked = ask({"n": Attribute(name="category", restrictions=wanted)})
    assert select(asked, wallet("alice")).chosen == {"n": "alice"}
    other = read({"cred_def_id": cred_def_id("licence"), "attr::category::value": "A"})
    asked = ask({"n": Attribute(name="category", restrictions=other)})
    assert select(asked, wallet("alice")).missing == ("n",)


def test_the_preferred_of_equals_is_chosen_and_all_are_told() -> None:
    asked = ask({"c": reveal("category", source=source("licence"))})
    selection = select(asked, wallet("child", "alice"))
    assert selection.chosen == {"c": "child"}
    assert selection.candidates == {"c": ("child", "alice")}


def test_what_has_no_restrictions_may_be_the_holders_own_word() -> None:
    asked = ask({"nick": Attribute(name="nickname")}, accept_any_issuer=True)
    selection = select(asked, wallet("alice"))
    assert (selection.self_attestable, selection.missing) == (("nick",), ())
    assert not selection.complete


def test_sec_p22_one_credential_does_not_show_and_prove_the_same_attribute() -> None:
    asked = read_request(
        {
            "nonce": "1",
            "requested_attributes": {"b": {"name": "birthdate_dateint"}},
            "requested_predicates": {
                "p": {"name": "birthdate_dateint", "p_type": "<=", "p_value": 20081122}
            },
        }
    )
    assert select(asked, wallet("alice")).missing == ("p",)
    assert select(asked, wallet("alice", "alice_learner")).chosen == {
        "b": "alice",
        "p": "alice_learner",
    }


def test_the_wallet_is_narrowed_by_what_every_answer_must_have() -> None:
    asked = read_request(
        {
            "nonce": "1",
            "requested_attributes": {
                "x": {
                    "names": ["First Name", "b"],
                    "restrictions": [
                        {"cred_def_id": "a", "schema_id": "s"},
                        {"cred_def_id": "b", "issuer_id": "i"},
                    ],
                }
            },
            "requested_predicates": {
                "p": {
                    "name": "a",
                    "p_type": "<",
                    "p_value": 1,
                    "restrictions": [{"issuer_did": "j"}],
                }
            },
        }
    )
    found = narrow(asked)
    assert found["x"].cred_def_ids == {"a", "b"}
    assert found["x"].schema_ids == found["x"].issuer_ids == frozenset()
    assert found["x"].names == {"firstname", "b"}
    assert found["p"].issuer_ids == {"j"}


async def test_what_is_chosen_can_be_presented(desk: Desk) -> None:
    request = bar_question()
    chosen = select(request, wallet("alice_card", "alice")).chosen
    assert set(chosen.values()) == {"alice"}
    presentation = await desk.present(request, {"alice": (("category", "person"), ("adult",))})
    assert (await desk.verify(request, presentation)).ok


@pytest.mark.parametrize(
    ("attributes", "predicates"),
    [(("category",), ("adult",)), (("category", "person"), ()), (("category", "category", "person"), ("adult",)),
     (("category", "person", "more"), ("adult",)), (("adult",), ("category",))],
)  # fmt: skip
async def test_sec_p07_a_holder_answers_each_referent_exactly_once(
    desk: Desk, attributes: tuple[str, ...], predicates: tuple[str, ...]
) -> None:
    with pytest.raises(RefusedError, match="SEC-P07"):
        await desk.present_chosen(
            bar_question(), [Chosen(held("alice"), attributes, predicates)]
        )


async def test_sec_p09_a_holder_gives_no_word_of_his_own_for_what_must_be_proven(
    desk: Desk,
) -> None:
    request = ask({"c": reveal("category", source=source("licence"))})
    with pytest.raises(RefusedError, match="SEC-P09"):
        await desk.present_chosen(request, [], self_attested={"c": "A"})
