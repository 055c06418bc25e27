"""Files by strangers, kills and cut wires: nothing is painted over, used twice or lost."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any

import cbor2
import pytest
import segno
from agent.cli.multisig.airgap import can_seal, run_sealed
from agent.cli.multisig.kill_at_every_step import killed_at_every_step
from agent.cli.multisig.run_command import done, refused, run
from ledger.multisig.sample_proposals import ANA, BEN, GROUP_DID, NYM, body, request

from keep_agent.cli.multisig.sign import add_mark_by_share
from keep_agent.cli.multisig.signing_keys import open_share
from keep_ledger.multisig.proposal.document import Cosigner, Proposal
from keep_ledger.multisig.threshold import frost
from keep_ledger.multisig.threshold.shares import Share

BLANK = "\u2800"


def proposed(**more: Any) -> Proposal:
    """A proposal of now."""
    now = int(time.time())
    return Proposal(body(made=now - 9, expires=now + 3600, **more))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(place: Path) -> None:
    paint = "\x1b[2J\x9b1A\r\x08\u202e"
    whole = proposed().body.to_map()
    whole = {k: v for k, v in whole.items() if v is not None}
    whole["cosigners"] = [{k: v for k, v in c.items() if v} for c in whole["cosigners"]]
    hostile: list[dict[str, Any]] = [
        {paint: 1},
        {"request": whole["request"] | {paint: 1}},
        {"request": whole["request"] | {"operation": NYM | {paint: 1}}},
        {"before": {"exists": True, "role": paint}},
        {"before": {paint: True}},
        {"rules": {f"1--ADD--{paint}--*--0": {"constraint_id": "FORBIDDEN"}}},
        {"rules": {"1--ADD--role--*--0": {"constraint_id": paint}}},
        {"memo": paint},
        {"kind": paint},
    ]
    for more in hostile:
        raw = cbor2.dumps({"psit": whole | more, "marks": []}, canonical=True)
        (place / "h.psit").write_bytes(raw)
        ran = run("show", "h.psit", "--offline")
        assert ran.code == 2, more
        assert (ran.out + ran.err).replace("\n", "").isprintable(), more


@pytest.mark.parametrize("letter", ["x", "漢"])
def test_a_long_word_does_not_run_into_the_next_row(place: Path, letter: str) -> None:
    """Else the end of a memo would look like a row of its own at the left edge."""
    memo = f"{letter * 61}still-missing-nothing:-it-can-be-submitted"
    (place / "p.psit").write_bytes(proposed(memo=memo).to_bytes())
    shown = done("show", "p.psit", "--offline").splitlines()
    for line in shown:
        columns = sum(2 if c > "\u2e80" else 1 for c in line)
        assert columns <= 80 or len(line.split()[-1]) == 64, line


def test_blanks_that_no_terminal_shows_are_refused() -> None:
    with pytest.raises(ValueError, match="invisible"):
        proposed(memo=f"a{BLANK}b")


def png(width: int, height: int) -> bytes:
    """The head of a picture of that size, and nothing in it."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        png(30000, 30000),
        png(7500, 7500),
        png(9, 9),
        png(9, 9)[:40],
        POSTSCRIPT,
        b"GIF89a" + b"\xff" * 40,
        b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\xff" * 40,
    ],
)
@pytest.mark.filterwarnings("ignore:Image size")
def test_a_hostile_picture_is_refused_with_a_sentence(place: Path, raw: bytes) -> None:
    (place / "p.png").write_bytes(raw)
    assert "p.png" in refused("show", "p.png", "--offline")


def test_a_damaged_picture_of_a_code_is_refused_with_a_sentence(place: Path) -> None:
    segno.make_qr("PSIT/1/1/00000000/AAAA").save(str(place / "p.png"), scale=4)
    whole = (place / "p.png").read_bytes()
    for cut in range(len(whole) - 60, len(whole), 7):
        (place / "p.png").write_bytes(whole[:cut] + b"\x00" * 9)
        refused("show", "p.png", "--offline")


def split(place: Path) -> list[Share]:
    """A group of 2 of 3, a folder each; their shares."""
    words = ("--name", "Seal", "--members", "3", "--threshold", "2")
    done("group", "split", str(place / "seal"), *words, stdin="07" * 32)
    return [open_share(f"frost:{place / f'seal/member-{n}'}")[0] for n in (1, 2, 3)]


def for_group(shares: list[Share]) -> tuple[Proposal, str]:
    """A proposal that a group signs, and the group's DID."""
    group = shares[0].group
    seal = Cosigner(name="Seal", did=GROUP_DID, key=group.key, group=group)
    return proposed(cosigners=(seal,), request=request(NYM, GROUP_DID)), GROUP_DID


def test_a_kill_in_round_two_costs_a_commitment_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    shares = split(place)
    proposal, did = for_group(shares)
    file = place / "p.psit"
    file.write_bytes(proposal.to_bytes())
    sign = ["sign", str(file), "--offline", "--yes", "--with"]
    mine, other = (f"frost:{place}/seal/member-{n}" for n in (1, 2))
    done(*sign, mine)
    done(*sign, other)
    assert killed_at_every_step(place, [[*sign, mine]])[0] > 5
    for member in (other, mine, other, mine):  # whoever lost a nonce commits again
        if did in Proposal.from_bytes(file.read_bytes()).signatures():
            break
        done(*sign, member)
    assert did in Proposal.from_bytes(file.read_bytes()).signatures()


def test_an_older_copy_does_not_bring_a_nonce_back(place: Path) -> None:
    """A carrier sends round two again, with another commitment beside ours."""
    shares = split(place)
    proposal, _ = for_group(shares)
    file = place / "p.psit"
    file.write_bytes(proposal.to_bytes())
    sign = ("sign", "p.psit", "--offline", "--yes", "--with")
    for member in (1, 2):
        done(*sign, f"frost:seal/member-{member}")
    before = Proposal.from_bytes(file.read_bytes())
    done(*sign, "frost:seal/member-1")
    first = Proposal.from_bytes(file.read_bytes()).shares(0)
    other = frost.commit(shares[1], before.session(0), open_share("frost:seal/member-2")[1])
    again = add_mark_by_share(before, shares[1], "commit", commitment=other)
    file.write_bytes(again.to_bytes())
    ran = run(*sign, "frost:seal/member-1")
    assert "committing again" in ran.err
    after = Proposal.from_bytes(file.read_bytes())
    assert after.shares(0) == []
    assert after.commitments(0)[0] != before.commitments(0)[0]
    assert len(first) == 1


@pytest.mark.skipif(not can_seal(), reason="this machine cannot seal a process (seccomp)")
def test_signing_offline_opens_no_socket(place: Path) -> None:
    (place / "p.psit").write_bytes(proposed().to_bytes())
    key = ("store:ana.db#ana", "--key-file", "ana.key")
    done("key", "import", *key, stdin=bytes(ANA.key).hex())
    words = ("sign", "p.psit", "--offline", "--yes", "--with", *key)
    ran = run_sealed(*words, cwd=place, report=place / "report")
    assert ran.code == 0, ran.err
    signed = Proposal.from_bytes((place / "p.psit").read_bytes())
    assert list(signed.signatures()) == [ANA.did]


def test_whose_key_is_no_cosigners_signs_nothing(place: Path) -> None:
    (place / "p.psit").write_bytes(proposed(cosigners=(ANA.cosigner(),)).to_bytes())
    key = ("store:ben.db#ben", "--key-file", "ben.key")
    done("key", "import", *key, stdin=bytes(BEN.key).hex())
    said = refused("sign", "p.psit", "--offline", "--yes", "--with", *key)
    assert "does not belong to a cosigner; the cosigners are: Ana" in said
