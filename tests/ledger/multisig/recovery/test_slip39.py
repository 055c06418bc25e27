"""Shares on paper restore the key, prove themselves, and say what is wrong with them."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from leaks import told
from shamir_mnemonic import combine_mnemonics, generate_mnemonics

from keep_ledger.multisig.errors import RecoveryError, RefusedError
from keep_ledger.multisig.recovery import slip39
from keep_ledger.multisig.recovery.paper_sheets import sheet
from keep_ledger.multisig.recovery.slip39 import (
    Backup,
    Circle,
    PaperShare,
    Plan,
    answer_with_words,
    replace,
    restore,
    split,
)
from keep_ledger.multisig.threshold.share_drill import Challenge, check, last_proven

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAMILY = Circle(name="family", need=2, guardians=("Ana", "Bo", "Cy"))
ME_OR_FAMILY = Plan(need=1, circles=(Circle(name="me", need=1, guardians=("Me",)), FAMILY))
KEY = secrets.token_bytes(32)
BACKUP, SHARES = split(KEY, ME_OR_FAMILY, NOW)
ME, ANA, BO, CY = (share.words for share in SHARES)


def test_either_i_or_two_of_the_family_restore_the_key() -> None:
    assert restore(BACKUP, [ME]) == KEY
    for pair in itertools.permutations([ANA, BO, CY], 2):
        assert restore(BACKUP, pair) == KEY
    assert restore(BACKUP, [ANA, BO, CY, ME]) == KEY


def test_the_words_alone_restore_the_key_when_the_record_is_lost() -> None:
    assert restore(None, [CY, ANA]) == KEY
    assert combine_mnemonics([BO, CY]) == KEY


def test_words_may_be_typed_in_any_case_and_spacing() -> None:
    assert restore(BACKUP, [f"  {ANA.upper()}\n", BO.replace(" ", "\n")]) == KEY


@pytest.mark.parametrize("backup", [BACKUP, None])
def test_too_few_sheets_say_what_is_missing(backup: Backup | None) -> None:
    what = "it takes Me or 2 of 3 of family" if backup else "circle 2 has 1 of 2"
    for few in ([ANA], [ANA, ANA]):
        with pytest.raises(RecoveryError, match=f"too few sheets: .*{what}"):
            restore(backup, few)
    with pytest.raises(RecoveryError, match="there is no sheet"):
        restore(backup, [])


def _with_word(words: str, place: int, word: str) -> str:
    listed = words.split()
    listed[place] = word
    return " ".join(listed)


def test_a_typo_is_located_but_not_repeated() -> None:
    typo = _with_word(BO, 11, "zebra")
    with pytest.raises(
        RecoveryError, match="sheet 2 is mistyped: word 12 is not on"
    ) as refusal:
        restore(BACKUP, [ANA, typo])
    assert "zebra" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_wrong_word_of_the_list_or_two_swapped_ones_are_noticed() -> None:
    listed = BO.split()
    other = "academic" if listed[9] != "academic" else "acid"
    swap = next(i for i in range(5, 30) if listed[i] != listed[i + 1])
    swapped = [*listed[:swap], listed[swap + 1], listed[swap], *listed[swap + 2 :]]
    for wrong in (_with_word(BO, 9, other), " ".join(swapped)):
        with pytest.raises(RecoveryError, match="sheet 1 is mistyped: its checksum is wrong"):
            restore(BACKUP, [wrong, ANA])


def test_a_missing_word_is_noticed() -> None:
    with pytest.raises(RecoveryError, match="it has 32 words instead of 33"):
        restore(BACKUP, [ANA.rsplit(" ", 1)[0], BO])


def test_a_sheet_of_another_set_is_named() -> None:
    _, other = split(KEY, ME_OR_FAMILY, NOW)
    with pytest.raises(RecoveryError, match="sheet 2 is of another set"):
        restore(BACKUP, [ANA, other[2].words])
    with pytest.raises(RecoveryError, match="the sheets are of several sets"):
        restore(None, [ANA, other[2].words])


def test_sheets_that_are_well_formed_but_do_not_fit_are_noticed_without_the_record() -> None:
    """A guardian who makes up a share that bears the right numbers."""
    from shamir_mnemonic import Share  # noqa: PLC0415

    honest = Share.from_mnemonic(BO)
    forged = Share.__new__(Share)
    forged.__dict__.update(honest.__dict__ | {"value": bytes(32)})
    with pytest.raises(RecoveryError, match="do not belong together"):
        restore(None, [ANA, forged.mnemonic()])
    with pytest.raises(RecoveryError, match="sheet 2 is of another set"):
        restore(BACKUP, [ANA, forged.mnemonic()])


def test_a_wrong_passphrase_is_noticed_with_the_record() -> None:
    backup, shares = split(KEY, ME_OR_FAMILY, NOW, "correct horse")
    assert backup.passphrase
    assert restore(backup, [shares[0].words], "correct horse") == KEY
    with pytest.raises(RecoveryError, match="so the passphrase is wrong"):
        restore(backup, [shares[0].words], "wrong horse")
    assert restore(None, [shares[0].words], "wrong horse") != KEY


@pytest.mark.parametrize("passphrase", ["größe", "a\nb", "\x7f"])
def test_a_passphrase_is_printable_ascii(passphrase: str) -> None:
    with pytest.raises(RecoveryError, match="printable ASCII"):
        split(KEY, ME_OR_FAMILY, NOW, passphrase)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(RecoveryError, match="32 bytes"):
        split(bytes(size), ME_OR_FAMILY, NOW)


def test_nothing_is_handed_out_that_does_not_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> list[list[str]]:
        good = generate_mnemonics(1, [(1, 1), (2, 3)], KEY)
        other = generate_mnemonics(1, [(1, 1), (2, 3)], KEY)
        return [good[0], [*good[1][:2], other[1][2]]]

    monkeypatch.setattr(slip39, "generate_mnemonics", broken)
    with pytest.raises(RecoveryError, match="several sets"):
        split(KEY, ME_OR_FAMILY, NOW)


def test_a_plan_of_several_circles_is_met_as_it_says() -> None:
    board = Circle(name="board", need=3, guardians=("D", "E", "F", "G", "H"))
    me = Circle(name="me", need=1, guardians=("Me",))
    plan = Plan(need=2, circles=(me, FAMILY, board))
    assert plan.sentence() == "2 of: Me; 2 of 3 of family; 3 of 5 of board"
    backup, shares = split(KEY, plan, NOW)
    words = [share.words for share in shares]
    assert backup.guardian(5) == "D (board)"
    for chosen in ({1, 2, 3}, {2, 4, 5, 6, 9}, {1, 7, 8, 9}):
        assert plan.met_by(frozenset(chosen))
        assert restore(backup, [words[i - 1] for i in chosen]) == KEY
    for chosen in ({2, 3}, {1, 2, 5, 6}, {5, 6, 7, 8, 9}, {99}):
        assert not plan.met_by(frozenset(chosen))
        if chosen != {99}:
            with pytest.raises(RecoveryError, match="too few sheets"):
                restore(backup, [words[i - 1] for i in chosen])
    both = Plan(need=2, circles=(me, FAMILY))
    assert both.sentence() == "Me and 2 of 3 of family"


@pytest.mark.parametrize(
    ("circle", "why"),
    [
        ({"need": 1, "guardians": ["A", "B"]}, "one of several"),
        ({"need": 3, "guardians": ["A", "B"]}, "fewer guardians"),
        ({"need": 2, "guardians": ["A", "A"]}, "twice"),
        ({"need": 0, "guardians": ["A"]}, "need"),
        ({"need": 1, "guardians": []}, "guardians"),
        ({"need": 2, "guardians": ["A", "B\u202e"]}, "invisible"),
        ({"need": 2, "guardians": ["A", " B"]}, "spaces around"),
        ({"need": 2, "guardians": [str(n) for n in range(17)]}, "guardians"),
    ],
)
def test_a_circle_that_cannot_be_is_refused(circle: dict[str, object], why: str) -> None:
    body = {"kind": "recovery-plan/1", "need": 1, "circles": [{"name": "x", **circle}]}
    with pytest.raises(RefusedError, match=why):
        Plan.from_json(body)


def test_a_plan_that_cannot_be_is_refused() -> None:
    with pytest.raises(RefusedError, match="more circles are needed"):
        Plan.from_json(ME_OR_FAMILY.to_json() | {"need": 3})
    many = {"name": "x", "need": 2, "guardians": [str(n) for n in range(16)]}
    with pytest.raises(RefusedError, match="more than 64"):
        Plan.from_json({"kind": Plan.KIND, "need": 1, "circles": [many] * 5})


def test_the_record_survives_text_and_holds_no_secret() -> None:
    text = BACKUP.to_text()
    assert Backup.from_text(text) == BACKUP
    assert KEY.hex() not in text
    assert not [part for share in SHARES for part in told(share.words, text)]
    with pytest.raises(RefusedError, match="one key for each share"):
        Backup.from_json(BACKUP.to_json() | {"keys": []})


def test_no_repr_shows_the_words() -> None:
    assert told(ANA, repr(SHARES[1])) == []


def test_words_in_a_text_would_be_noticed() -> None:
    """However they stand there; what these tests look for can be found."""
    tail = ANA.split()[-4:]
    parts = [" ".join(tail[:3]), " ".join(tail[1:])]
    for text in (" ".join(tail), json.dumps(tail), "\n".join(tail).upper()):
        assert told(ANA, f"not in it: {text}, or so") == parts
    assert told(ANA, f"{tail[0]} {tail[1]} of family {tail[2]}") == []


def test_a_guardian_proves_the_share_without_showing_it() -> None:
    challenge = Challenge.of(BACKUP.digest, NOW)
    answers = [answer_with_words(BACKUP, words, challenge) for words in (ANA.upper(), CY)]
    record = check(BACKUP.keys_by_identifier, challenge, answers)
    proven = record.proven(BACKUP.keys_by_identifier)
    assert proven == {2, 4}
    assert BACKUP.plan.met_by(proven)
    latest = last_proven(BACKUP.keys_by_identifier, [record], BACKUP.digest)
    assert latest == {1: None, 2: NOW, 3: None, 4: NOW}


def test_a_drill_with_a_mistyped_old_or_foreign_share_says_so() -> None:
    other, shares = split(KEY, ME_OR_FAMILY, NOW)
    challenge = Challenge.of(BACKUP.digest, NOW)
    with pytest.raises(RecoveryError, match="mistyped"):
        answer_with_words(BACKUP, _with_word(ANA, 8, "zebra"), challenge)
    with pytest.raises(RecoveryError, match="replaced"):
        answer_with_words(BACKUP, shares[1].words, challenge)
    with pytest.raises(RecoveryError, match="about another backup"):
        answer_with_words(other, shares[1].words, challenge)


class _Store:
    """Knows its key, and in which order things happened to it."""

    def __init__(self) -> None:
        self.key = KEY
        self.kept: tuple[PaperShare, ...] = ()
        self.backup: Backup | None = None

    async def keep(self, backup: Backup, shares: tuple[PaperShare, ...]) -> None:
        assert self.key == KEY
        self.backup, self.kept = backup, shares

    async def change(self, key: bytes) -> None:
        assert restore(self.backup, [self.kept[0].words]) == key
        self.key = key

    async def fail(self, *what: object) -> None:
        raise OSError("the printer is out of paper")


WITHOUT_BO = Plan(
    need=1,
    circles=(
        ME_OR_FAMILY.circles[0],
        Circle(name="family", need=2, guardians=("Ana", "Cy", "Di")),
    ),
)


def test_a_guardian_is_removed_by_a_new_key() -> None:
    store = _Store()
    backup = asyncio.run(replace(WITHOUT_BO, NOW, store.keep, store.change))
    assert store.backup == backup
    assert store.key != KEY
    assert restore(backup, [store.kept[1].words, store.kept[3].words]) == store.key
    with pytest.raises(RecoveryError, match="replaced"):
        restore(backup, [BO, CY])


def test_the_key_stays_when_the_new_shares_are_not_safe() -> None:
    store = _Store()
    with pytest.raises(OSError, match="paper"):
        asyncio.run(replace(WITHOUT_BO, NOW, store.fail, store.change))
    assert store.key == KEY


def test_the_old_shares_stay_good_when_the_store_cannot_change_its_key() -> None:
    store = _Store()
    with pytest.raises(OSError, match="paper"):
        asyncio.run(replace(WITHOUT_BO, NOW, store.keep, store.fail))
    assert restore(BACKUP, [ANA, BO]) == store.key


def test_the_shares_are_those_of_the_slip_39_reference() -> None:
    """Vector 4 of SLIP-39: 16 bytes, two of three, with a passphrase."""
    one = (
        "shadow pistol academic always adequate wildlife fancy gross oasis cylinder mustang "
        "wrist rescue view short owner flip making coding armed"
    )
    two = (
        "shadow pistol academic acid actress prayer class unknown daughter sweater depict flip "
        "twice unkind craft early superior advocate guest smoking"
    )
    assert restore(None, [one, two], "TREZOR").hex() == "b43ceb7e57a0ea8766221624d01b0864"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {"src", "href"} & dict(attrs).keys()

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "li" and data.strip():
            self.words.append(data)


def test_a_sheet_shows_the_words_in_order_and_loads_nothing() -> None:
    page = _Page()
    text = sheet(BACKUP, SHARES[2])
    page.feed(text)
    assert " ".join(page.words) == BO
    assert page.tags.count("svg") == 1
    assert "Bo (family)" in text
    assert "It takes Me or 2 of 3 of family" in text
    assert "passphrase" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_a_name_cannot_bring_markup_onto_a_sheet() -> None:
    plan = Plan(need=1, circles=(Circle(name="<b>", need=1, guardians=("<script>{x}",)),))
    backup, shares = split(KEY, plan, NOW, "p")
    text = sheet(backup, shares[0])
    assert "&lt;script&gt;{x} (&lt;b&gt;)" in text
    assert "<script" not in text
    assert "The passphrase is needed, too." in text
