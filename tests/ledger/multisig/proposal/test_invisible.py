"""What a reader does not see of a text is shown to who approves it, or refused with its place."""

from __future__ import annotations

from typing import Any

import pytest
from ledger.multisig.sample_proposals import NOW, body, request

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.describe_request import describe
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.invisible import marks, with_marks
from keep_ledger.multisig.proposal.request_decoder import decode
from keep_ledger.multisig.proposal.review import review

LONG = "\n".join(["one line"] * 11 + ["Preamble\ufeff of the second part"])
DID = "JCH5jTAF1Lu4axnnaKoedV"
DOCUMENT: Json = {
    "type": "1",
    "dest": DID,
    "verkey": "ANYuEDyvVZP3VRp7A5XatXvMPFyXw69NEjxSV7qMAk8d",
    "diddocContent": '{"service":[]}',
    "version": 2,
}


def agreement(text: str) -> Json:
    return {"type": "4", "version": "3.0", "text": text, "ratification_ts": 1764115200}


def facts(operation: Json) -> dict[str, str]:
    return dict(describe(decode(request(operation)), {}).facts)


@pytest.mark.parametrize(
    ("text", "unseen"),
    [
        ("Agreement\nOne.", []),
        ("Agreement\tOne.", []),
        (LONG, ["U+FEFF at line 12"]),
        ("a\u200bb\n\u200b\n\u200bc", ["U+200B at lines 1, 2, 3"]),
        ("\u00a7\u00a01 Agreement", ["U+00A0 at line 1"]),
        ("a\r\n" * 8 + "b", ["U+000D at lines 1, 2, 3, 4, 5 and 3 more"]),
        ("pay \u202eyna\u202c", ["U+202E at line 1", "U+202C at line 1"]),
        ("\x1b[2J\x00", ["U+001B at line 1", "U+0000 at line 1"]),
        ("a\u3164b\u2028c", ["U+3164 at line 1", "U+2028 at line 1"]),
        (" a\n", ["blank space at its beginning", "blank space at its end"]),
        ("a\nZoe\u0308", ["not in Unicode normal form NFC at line 2"]),
    ],
)
def test_an_agreement_is_shown_with_what_a_reader_does_not_see(
    text: str, unseen: list[str]
) -> None:
    assert marks(text) == unseen
    said = facts(agreement(text))
    assert said.get("text: unseen", "") == "; ".join(unseen)
    shown = said["text"].replace("\n", "").replace("\t", "")
    assert shown.isprintable()
    for mark in unseen:
        if mark.startswith("U+"):
            assert f"<{mark.partition(' ')[0]}>" in shown


def test_a_text_without_them_is_shown_as_it_is() -> None:
    text = 'می\u200cروم — § 1: "words", 氏名\n\tand more'
    assert with_marks(text.replace("\u200c", "")) == text.replace("\u200c", "")
    assert with_marks(text) == text.replace("\u200c", "<U+200C>")


def test_a_way_to_accept_is_shown_with_marks_too() -> None:
    said = facts({"type": "5", "version": "2.0", "aml": {"click": "reviewed\u200b now"}})
    assert said["accepted by click"] == "reviewed<U+200B> now"
    assert said["accepted by click: unseen"] == "U+200B at line 1"


def test_such_an_agreement_can_be_approved() -> None:
    """It is signed exactly as it is, and read again from the file that cosigners hand around."""
    proposal = Proposal(body(request=request(agreement(LONG))))
    again = Proposal.from_bytes(proposal.to_bytes())
    assert again.body.request["operation"]["text"] == LONG
    assert LONG.encode() in again.request.signing_input
    assert ("text: unseen", "U+FEFF at line 12") in review(again, NOW, None, None).facts


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (agreement("a\nwho | may"), "text has '|' at line 2, character 5"),
        (
            agreement("a") | {"version": "3\u200b"},
            r"U\+200B at line 1, character 2: take it out",
        ),
        (agreement("a") | {"version": "3 "}, "version has spaces around it"),
        (
            {"type": "101"}
            | {"data": {"name": "Card", "version": "1.5", "attr_names": ["Member, Code"]}},
            r"data.attr_names.0 has ',' at line 1, character 7",
        ),
        ({**DOCUMENT, "role": "101"}, "role and diddocContent together"),
        ({**DOCUMENT, "diddocContent": "{"}, "diddocContent is not unambiguous JSON"),
    ],
)
def test_a_refusal_names_the_character_and_its_place(operation: Any, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        decode(request(operation))


def test_the_content_of_a_dids_document_is_reviewed() -> None:
    proposal = Proposal(body(request=request(DOCUMENT)))
    sheet = review(proposal, NOW, None, None)
    said = dict(sheet.facts)
    assert said["document"] == '{"service": []}'
    assert (said["text"], said["version"]) == (DOCUMENT["diddocContent"], "2")
    [told] = [one for one in sheet.warnings if "under the same signatures" in one]
    assert "leave out diddocContent and verkey and version" in told
    alone = {key: DOCUMENT[key] for key in ("type", "dest", "verkey")}
    sheet = review(Proposal(body(request=request(alone))), NOW, None, None)
    assert not [one for one in sheet.warnings if "under the same signatures" in one]


def test_a_changed_document_is_said_in_the_headline() -> None:
    known = {"exists": True, "role": None, "verkey": "x"}
    told = describe(decode(request(DOCUMENT)), known).headline
    assert told == f"Change its key and its document of the DID {DID}"
