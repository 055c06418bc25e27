"""Values as issuers in the field write them: a number is signed, its spelling is not (SEC-P02)."""

from __future__ import annotations

import json
from typing import Any

import anoncreds
import pytest
from zkp.kit import Case, Desk, ask, cred_def, cred_def_id, link_secret, rules, source

from keep_zkp import holder
from keep_zkp.errors import InvalidError
from keep_zkp.holder import Chosen
from keep_zkp.issuer import check_values
from keep_zkp.json_object import Json
from keep_zkp.requests import Attribute, Predicate, PresentationRequest, reveal
from keep_zkp.restrictions import read, spelt_both_ways, written
from keep_zkp.select import Held, select

CITY = {"name": "A", "birthdate_dateint": "19900131", "category": "n", "number": "20"}
SPELLINGS = [
    ("01067", "1067"), ("088003297", "88003297"), ("+112", "112"), ("-0", "0"), ("00000", "0"),
    ("-007", "-7"), ("+2147483647", "2147483647"), ("-02147483648", "-2147483648"),
]  # fmt: skip
AS_THEY_ARE = [
    "-99", "-2147483648", "2147483647", "2147483648", "02147483648", "+4930123456789", "٣", "१२",
    " 7", "1_0", " two  spaces\nand a line\ttab ", "Zoe\u0308 A\u030angstro\u0308m", '{"a": [1]}', "",
]  # fmt: skip


async def foreign(name: str, values: dict[str, str]) -> Json:
    """Issue with the bare library, as other issuers do, and return what Alice then holds."""
    keys = cred_def(name)
    public = anoncreds.CredentialDefinition.load(keys["public"])
    proof = anoncreds.KeyCorrectnessProof.load(keys["key_proof"])
    offer = anoncreds.CredentialOffer.create(keys["schema_id"], keys["id"], proof)
    secret = link_secret("alice")
    request, metadata = anoncreds.CredentialRequest.create(
        "entropy", None, public, secret, "default", offer
    )
    private = anoncreds.CredentialDefinitionPrivate.load(keys["TEST_ONLY_private"])
    issued = anoncreds.Credential.create(public, private, offer, request, values)
    holder.check_credential(
        issued.to_dict(), offer=offer.to_dict(), cred_def=keys["public"], accepted=values
    )
    return issued.process(metadata, secret, public).to_dict()


def postal(**restrictions: Any) -> PresentationRequest:
    """Ask for one attribute of Alice's, under more restrictions than its source."""
    wanted = read({"cred_def_id": cred_def_id("licence"), **restrictions})
    return ask({"postal": Attribute(name="name", restrictions=wanted)})


async def shows(desk: Desk, request: PresentationRequest, credential: Json) -> Json:
    """Show the attribute asked in `postal`."""
    return await desk.present_chosen(request, [Chosen(credential, ("postal",), ())])


@pytest.mark.parametrize(("raw", "number"), SPELLINGS)
async def test_sec_p02_of_a_number_in_another_spelling_only_the_number_is_signed(
    desk: Desk, raw: str, number: str
) -> None:
    request = postal()
    for credential in (
        await desk.issue("licence", {**CITY, "name": raw}),
        await foreign("licence", {**CITY, "name": raw}),
    ):
        assert credential["values"]["name"] == {"raw": raw, "encoded": number}
        presentation = await shows(desk, request, credential)
        verdict = await desk.verify(request, presentation)
        assert verdict.ok
        [answer] = verdict.wire()["answers"]
        assert answer["values"] == {"name": number}
        assert answer["unsigned_spellings"] == {"name": raw}
        [notice] = verdict.notices
        assert notice.rule == "SEC-P02"
        assert "only the number is signed" in notice.words
        presentation["requested_proof"]["revealed_attrs"]["postal"]["raw"] = f"{raw}1"
        assert rules(await desk.refuse(request, presentation)) == {"SEC-P02"}


@pytest.mark.parametrize("raw", AS_THEY_ARE)
async def test_what_is_signed_as_it_is_written_has_no_other_spelling(
    desk: Desk, raw: str
) -> None:
    request = postal()
    credential = await desk.issue("licence", {**CITY, "name": raw})
    verdict = await desk.verify(request, await shows(desk, request, credential))
    assert (verdict.ok, verdict.notices) == (True, ())
    assert verdict.answers[0].values == {"name": raw}
    assert verdict.answers[0].unsigned_spellings == {}


@pytest.mark.parametrize("raw", ["03", "+3", "0000000000000003"])
async def test_sec_p02_a_holder_who_spells_a_number_anew_changes_no_value(
    desk: Desk, two: Case, raw: str
) -> None:
    presentation = two.presentation
    presentation["requested_proof"]["revealed_attrs"]["level"]["raw"] = raw
    verdict = await desk.verify(two.request, presentation)
    honest = await desk.verify(two.request, two.presentation)
    assert [each.values for each in verdict.answers] == [each.values for each in honest.answers]
    assert [each.rule for each in verdict.notices] == ["SEC-P02"]


@pytest.mark.parametrize(
    ("raw", "wanted", "holds"),
    [
        ("01067", "01067", True),
        ("01067", "1067", True),
        ("1067", "01067", True),
        ("01067", "1068", False),
        ("-0", "0", True),
        ("01067", " 1067", False),
        ("02147483648", "2147483648", False),
    ],
)
async def test_sec_p03_a_value_restriction_compares_what_is_signed(
    desk: Desk, raw: str, wanted: str, *, holds: bool
) -> None:
    request = postal(**{"attr::name::value": wanted})
    credential = await desk.issue("licence", {**CITY, "name": raw})
    verdict = await desk.verify(request, await shows(desk, request, credential))
    assert rules(verdict) == (set() if holds else {"SEC-P03"})


@pytest.mark.parametrize(
    ("restrictions", "wanted"),
    [
        (
            [{"schema_id": "S:2:s:1.0", "attr::name::value": "01067"}],
            [
                {"schema_id": "S:2:s:1.0", "attr::name::value": "01067"},
                {"schema_id": "S:2:s:1.0", "attr::name::value": "1067"},
            ],
        ),
        (
            [{"attr::name::value": "-0"}, {"attr::name::value": "0"}],
            [{"attr::name::value": "-0"}, {"attr::name::value": "0"}],
        ),
        ([{"attr::name::value": "1067"}], [{"attr::name::value": "1067"}]),
        ([{"attr::name::value": " 007"}], [{"attr::name::value": " 007"}]),
        ([{"schema_version": "01.0"}], [{"schema_version": "01.0"}]),
        ([{"schema_version": "007"}], [{"schema_version": "007"}]),
    ],
)
def test_a_number_is_asked_for_as_it_is_written_and_as_it_is_signed(
    restrictions: list[Json], wanted: list[Json]
) -> None:
    assert written(spelt_both_ways(read(restrictions))) == wanted


def test_other_ids_leave_the_values_as_they_are_written() -> None:
    asked = postal(**{"attr::name::value": "01067"}).respelled(str.upper).wire()
    (restriction,) = asked["requested_attributes"]["postal"]["restrictions"]
    assert restriction["attr::name::value"] == "01067"


async def test_sec_p03_another_spelling_does_not_escape_an_exclusion(desk: Desk) -> None:
    request = postal(**{"attr::name::value": {"$neq": "1067"}})
    credential = await desk.issue("licence", {**CITY, "name": "1067"})
    presentation = await shows(desk, request, credential)
    for raw in ("1067", "01067", "+1067"):
        presentation["requested_proof"]["revealed_attrs"]["postal"]["raw"] = raw
        assert rules(await desk.refuse(request, presentation)) == {"SEC-P03"}
    presentation["requested_proof"]["revealed_attrs"]["postal"]["raw"] = "1068"  # not signed
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P02"}


async def test_a_group_tells_which_of_its_values_is_spelt_otherwise(desk: Desk) -> None:
    request = ask({"both": reveal("name", "number", source=source("licence"))})
    credential = await foreign("licence", {**CITY, "number": "+112"})
    chosen = [Chosen(credential, ("both",), ())]
    verdict = await desk.verify(request, await desk.present_chosen(request, chosen))
    assert verdict.answers[0].values == {"name": "A", "number": "112"}
    assert verdict.answers[0].unsigned_spellings == {"number": "+112"}
    assert "'number'" in verdict.notices[0].words


async def test_a_comparison_is_proved_of_the_number_however_it_is_spelt(desk: Desk) -> None:
    """Issuers of ours refuse such a value where comparisons are meant; others issue it."""
    predicate = Predicate(
        name="birthdate_dateint", p_type="<=", p_value=20000000, restrictions=source("licence")
    )
    request = ask({}, {"old": predicate})
    credential = await foreign("licence", {**CITY, "birthdate_dateint": "019900131"})
    values = {name: each["raw"] for name, each in credential["values"].items()}
    held = Held(
        "c", cred_def_id("licence"), credential["schema_id"], "V4SGRU86Z58d6TV7PBUe6f", values
    )
    assert select(request, [held]).complete
    chosen = [Chosen(credential, (), ("old",))]
    assert (await desk.verify(request, await desk.present_chosen(request, chosen))).ok


def test_a_value_with_a_nul_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidError, match="value of 'name' contains a NUL"):
        check_values(cred_def("licence")["public"], {**CITY, "name": "a\x00b"})


async def test_a_verdict_that_says_no_shows_no_spelling(desk: Desk) -> None:
    request = postal()
    credential = await desk.issue("licence", {**CITY, "name": "01067"})
    presentation = await shows(desk, request, credential)
    other = request.model_copy(update={"nonce": "1"})
    assert "01067" not in json.dumps((await desk.verify(other, presentation)).wire())


async def test_a_credential_with_as_many_attributes_as_a_ledger_takes(desk: Desk) -> None:
    names = [f"attr_{number:03}" for number in range(125)]
    values = {name: str(-60 + n) if n % 2 else f"text {name}" for n, name in enumerate(names)}
    credential = await desk.issue("wide", values)
    least = Predicate(name="attr_001", p_type=">=", p_value=-59, restrictions=source("wide"))
    shown = names[:1] + names[2:50]
    request = ask({"many": reveal(*shown, source=source("wide"))}, {"least": least})
    chosen = [Chosen(credential, ("many",), ("least",))]
    verdict = await desk.verify(request, await desk.present_chosen(request, chosen))
    assert verdict.ok
    assert verdict.answers[0].values == {name: values[name] for name in shown}
