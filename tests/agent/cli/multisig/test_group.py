"""`indykeep group`: ceremonies by files, as board members do them; kills, liars, drills."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from agent.cli.multisig.airgap import can_seal, run_sealed
from agent.cli.multisig.kill_at_every_step import killed_at_every_step
from agent.cli.multisig.run_command import done, refused, run
from ledger.indy.test_genesis import GOOD as GENESIS
from ledger.multisig.frost_parties import sign_together

from keep_agent.cli.multisig.signing_keys import open_share
from keep_ledger.multisig.signatures import verifies
from keep_ledger.multisig.threshold import dkg_files
from keep_ledger.multisig.threshold.dkg import Ceremony
from keep_ledger.multisig.threshold.dkg_files import Hello, Sealed
from keep_ledger.multisig.threshold.shares import Share

TRUSTEE = "000000000000000000000000Trustee1"
TRUSTEE_KEY = "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"


def _digest(out: str) -> str:
    return " ".join(out.splitlines()[-2:])


def _begin(place: Path, members: int, threshold: int) -> None:
    """Round one of everybody, into folders 1, 2, ... and files for others into `all`."""
    out = ("--out", place / "all")
    wanted = ("--name", "Board", "--members", members, "--threshold", threshold, "--me", 1)
    done("group", "begin", place / "1", *map(str, wanted), *out)
    for i in range(2, members + 1):
        join = ("--join", place / "all" / "round1-1.json", "--me", str(i))
        done("group", "begin", place / str(i), *join, *out)


def _go_on(place: Path, parties: Iterable[int], members: Iterable[int]) -> list[Share]:
    """Deal, compare, finish."""
    said = {
        _digest(done("group", "deal", place / str(i), place / "all", "--out", place / "all"))
        for i in parties
    }
    assert len(said) == 1
    for i in members:
        done("group", "finish", place / str(i), place / "all", "--transcript", *said)
    return _shares(place, members)


def _shares(place: Path, members: Iterable[int]) -> list[Share]:
    return [open_share(f"frost:{place}/{i}")[0] for i in members]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A confirmed group, 2 of 3. Tests look, drill and hand on; they do not change shares."""
    place = tmp_path_factory.mktemp("board")
    _begin(place, 3, 2)
    _go_on(place, (1, 2, 3), (1, 2, 3))
    return place


def _signs(shares: Sequence[Share]) -> bool:
    return verifies(shares[0].group.key, b"message", sign_together(shares, b"message"))


def test_three_people_make_a_key_that_two_of_them_use(board: Path) -> None:
    shares = _shares(board, (1, 2, 3))
    assert len({share.group.digest for share in shares}) == 1
    assert _signs(shares[:2])
    assert _signs(shares[1:])
    assert sorted(p.name for p in (board / "1").iterdir() if p.is_file()) == ["share.json"]
    assert (board / "1").stat().st_mode & 0o077 == 0
    shown = done("key", "show", f"frost:{board}/1", "--json")
    assert json.loads(shown)["verkey"] == shares[0].group.verkey


def test_what_travels_holds_no_secret(tmp_path: Path) -> None:
    _begin(tmp_path, 3, 2)
    for i in (1, 2, 3):
        done("group", "deal", tmp_path / str(i), tmp_path / "all", "--out", tmp_path / "all")
    dealt = dkg_files.Begun.from_text((tmp_path / "1" / "begun.json").read_text())
    assert dealt.dealing is not None
    secrets = [value.hex() for value in (dealt.secret, *dealt.dealing.coefficients)]
    shares = _go_on(tmp_path, (1, 2, 3), (1, 2, 3))
    secrets += [share.secret.hex() for share in shares]
    travelled = "".join(path.read_text() for path in (tmp_path / "all").iterdir())
    assert not [secret for secret in secrets if secret in travelled]
    assert len(list((tmp_path / "all").iterdir())) == 3 + 6


def test_a_key_is_handed_on_to_five_and_the_old_shares_do_not_mix(
    board: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "all")
    start = ("--dealers", "1,3", "--members", "1,3,4,5,6", "--threshold", "3")
    said = done("group", "reshare", tmp_path / "1", "--from", board / "1", *start, *out)
    assert "rotate the DID" in said
    join = ("--join", tmp_path / "all" / "round1-1.json")
    assert "name the folder of your share with --from" in refused(
        "group", "begin", tmp_path / "3", *join, "--me", "3"
    )
    assert not (tmp_path / "3").exists()
    wrong = ("--me", "3", "--from", board / "2")
    assert "not this dealer's" in refused("group", "begin", tmp_path / "3", *join, *wrong)
    done("group", "begin", tmp_path / "3", *join, "--me", "3", "--from", board / "3", *out)
    for i in (4, 5, 6):
        done("group", "begin", tmp_path / str(i), *join, "--me", str(i), *out)
    shares = _go_on(tmp_path, (1, 3, 4, 5, 6), (1, 3, 4, 5, 6))
    assert shares[0].group.key == _shares(board, (1,))[0].group.key
    assert _signs(shares[2:])
    assert _signs(_shares(board, (1, 2)))


def test_a_share_does_not_sign_before_the_digest_is_confirmed(tmp_path: Path) -> None:
    _begin(tmp_path, 2, 2)
    for i in (1, 2):
        done("group", "deal", tmp_path / str(i), tmp_path / "all", "--out", tmp_path / "all")
    digest = _digest(done("group", "finish", tmp_path / "1", tmp_path / "all"))
    assert "not confirmed" in refused("key", "show", f"frost:{tmp_path}/1")
    wrong = digest.replace(digest.strip()[0], "f" if digest.strip()[0] == "0" else "0")
    assert "the digest here is another one" in refused(
        "group", "confirm", tmp_path / "1", wrong
    )
    assert "the digest here is another one" in refused(
        "group", "confirm", tmp_path / "1", digest.split()[0]
    )
    assert "Next: compare" in done("group", "show", tmp_path / "1")
    done("group", "confirm", tmp_path / "1", *digest.upper().split())
    done("group", "confirm", tmp_path / "1", digest)
    assert "confirmed already" in refused("group", "finish", tmp_path / "1", tmp_path / "all")
    assert "has not begun" in refused("group", "deal", _empty(tmp_path), tmp_path / "all")


def _empty(place: Path) -> Path:
    (place / "empty").mkdir(mode=0o700)
    return place / "empty"


def test_a_carrier_that_puts_its_own_key_in_between_is_heard(tmp_path: Path) -> None:
    """It changes the transport key of 2 on the way to 1: both read out different digests."""
    _begin(tmp_path, 2, 2)
    honest = Hello.from_text((tmp_path / "all" / "round1-2.json").read_text())
    mallory = dkg_files.begin("Board", honest.ceremony, 2)
    forged = honest.model_copy(update={"key": mallory.hello.key})
    (tmp_path / "forged.json").write_text(forged.to_text())
    one = _digest(done("group", "deal", tmp_path / "1", tmp_path / "forged.json"))
    two = _digest(done("group", "deal", tmp_path / "2", tmp_path / "all"))
    assert one != two
    sealed = next((tmp_path / "1" / "send").glob("round2-*"))
    assert "not from this participant" in refused(
        "group", "finish", tmp_path / "2", tmp_path / "all", sealed
    )
    late = refused("group", "deal", tmp_path / "1", tmp_path / "all")
    assert "not the one that you used before" in late


def test_files_of_another_ceremony_changed_missing_or_twice_are_refused(tmp_path: Path) -> None:
    _begin(tmp_path, 3, 2)
    every = tmp_path / "all"
    (tmp_path / "other").mkdir()
    _begin(tmp_path / "other", 3, 2)
    stranger = tmp_path / "other" / "all" / "round1-3.json"
    files = [every / "round1-2.json"]
    assert "participant 3" in refused("group", "deal", tmp_path / "1", *files)
    assert "another ceremony" in refused("group", "deal", tmp_path / "1", *files, stranger)
    assert "sent two different files of round one" in refused(
        "group", "deal", tmp_path / "1", every, stranger
    )
    changed = json.loads((every / "round1-3.json").read_text())
    answer: str = changed["package"]["answer"]
    changed["package"]["answer"] = f"{int(answer[0], 16) ^ 1:x}{answer[1:]}"
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    lie = refused("group", "deal", tmp_path / "1", *files, tmp_path / "changed.json")
    assert "participant 3: no proof of possession" in lie
    (tmp_path / "text.json").write_text("[]")
    assert "is not a file of a round" in refused(
        "group", "deal", tmp_path / "1", tmp_path / "text.json"
    )
    for i in (1, 2, 3):
        done("group", "deal", tmp_path / str(i), every, "--out", every)
    sealed = Sealed.from_text((every / "round2-3-to-1.json").read_text())
    turned = sealed.model_copy(update={"box": sealed.box[:-1] + bytes([sealed.box[-1] ^ 1])})
    (every / "round2-3-to-1.json").write_text(turned.to_text())
    said = refused("group", "finish", tmp_path / "1", every)
    assert said.startswith("participant 3: this file was changed")
    (every / "round2-3-to-1.json").write_text(sealed.to_text())
    assert "is valid" in done("group", "finish", tmp_path / "1", every)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--name", "a", "--members", "3", "--threshold", "2", "--me", "4"), "no part"),
        (("--name", "a", "--members", "3", "--threshold", "4", "--me", "1"), "higher"),
        (("--name", "a", "--members", "3", "--threshold", "1", "--me", "1"), "threshold"),
        (("--name", "a", "--members", "99999999", "--threshold", "2", "--me", "1"), "at most"),
        (("--name", " a", "--members", "3", "--threshold", "2", "--me", "1"), "not a name"),
        (("--name", "a", "--me", "1"), "to start, give"),
        (("--join", "none.json", "--me", "1"), "No such file"),
    ],
)
def test_what_cannot_begin_leaves_nothing(
    tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    assert why in refused("group", "begin", tmp_path / "new", *words)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_used_is_not_begun_again(board: Path, tmp_path: Path) -> None:
    wanted = ("--name", "Board", "--members", "2", "--threshold", "2", "--me", "1")
    assert "has a share" in refused("group", "begin", board / "1", *wanted)
    (tmp_path / "letter").write_text("dear all")
    assert "not empty" in refused("group", "begin", tmp_path, *wanted)
    first = done("group", "begin", tmp_path / "new", *wanted)
    hello = (tmp_path / "new" / "send" / "round1-1.json").read_text()
    assert done("group", "begin", tmp_path / "new", *wanted) == first
    assert (tmp_path / "new" / "send" / "round1-1.json").read_text() == hello
    other = ("--name", "Board", "--members", "3", "--threshold", "2", "--me", "1")
    assert "has another ceremony" in refused("group", "begin", tmp_path / "new", *other)


def test_a_trustees_key_is_split_into_folders_to_hand_out(tmp_path: Path) -> None:
    words = ("--name", "T1", "--members", "3", "--threshold", "2")
    said = done("group", "split", tmp_path / "cut", *words, stdin=TRUSTEE)
    assert TRUSTEE_KEY in said
    shares = [open_share(f"frost:{tmp_path}/cut/member-{i}")[0] for i in (1, 2, 3)]
    assert shares[0].group.verkey == TRUSTEE_KEY
    assert _signs([shares[0], shares[2]])
    assert "already" in refused("group", "split", tmp_path / "cut", *words, stdin=TRUSTEE)
    assert "not a seed" in refused("group", "split", tmp_path / "two", *words, stdin="x")
    assert not (tmp_path / "two").exists()


def test_a_drill_tells_who_answered_and_when_it_is_due(board: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path)
    before = run("group", "show", board / "1")
    assert (before.code, before.out.count("DRILL DUE")) == (1, 3)
    done("group", "drill", "begin", board / "1", *out)
    challenge = next(tmp_path.glob("drill-????????.json"))
    for i in (1, 2):
        done("group", "drill", "answer", board / str(i), challenge, *out)
    answers = sorted(tmp_path.glob("*-answer-*"))
    checked = run("group", "drill", "check", board / "1", challenge, *answers)
    assert (checked.code, checked.out.splitlines()[-1]) == (1, "participant 3: NO ANSWER")
    done("group", "drill", "answer", board / "3", challenge, *out)
    done(
        "group", "drill", "check", board / "1", challenge, *sorted(tmp_path.glob("*-answer-*"))
    )
    assert done("group", "show", board / "1").count("last proven") == 3
    lie = json.loads(answers[0].read_text())
    lie["identifier"] = 3
    (tmp_path / "lie.json").write_text(json.dumps(lie))
    said = refused("group", "drill", "check", board / "1", challenge, tmp_path / "lie.json")
    assert said.startswith("participant 3: the share is wrong")


def test_the_descriptor_holds_no_secret_and_knows_its_shares(
    board: Path, tmp_path: Path
) -> None:
    (tmp_path / "genesis").write_text(GENESIS)
    done("group", "export", board / "1", "--genesis", tmp_path / "genesis", "--out", tmp_path)
    text = (tmp_path / "descriptor.json").read_text()
    assert not [s for s in _shares(board, (1, 2, 3)) if s.secret.hex() in text]
    for i in (1, 2, 3):
        assert "2 of 3" in done("group", "check", tmp_path / "descriptor.json", board / str(i))
    words = ("--name", "Board", "--members", "3", "--threshold", "2")
    done("group", "split", tmp_path / "other", *words, stdin=TRUSTEE)
    said = refused("group", "check", tmp_path / "descriptor.json", tmp_path / "other/member-2")
    assert said.startswith("participant 2: the share is of another group")
    assert "name the network" in refused("group", "export", board / "1")
    did = ("--genesis", tmp_path / "genesis", "--did", "nonsense")
    assert "is not a DID" in refused("group", "export", board / "1", *did)


@pytest.mark.skipif(not can_seal(), reason="this machine cannot seal a process (seccomp)")
def test_a_ceremony_needs_no_socket(tmp_path: Path) -> None:
    _begin(tmp_path, 2, 2)
    report = tmp_path / "report"
    for command in ("deal", "finish"):
        out = ("--out", tmp_path / "all")
        done("group", "deal", tmp_path / "2", tmp_path / "all", *out)
        ended = run_sealed(
            "group", command, tmp_path / "1", tmp_path / "all", *out, report=report
        )
        assert ended.code == 0, ended.err


def test_a_kill_at_any_step_of_any_round_loses_nothing(tmp_path: Path) -> None:
    """A new key by two, then handed on to two others: every command killed everywhere."""
    place = tmp_path / "place"
    place.mkdir()
    every, one, two = place / "all", place / "1", place / "2"
    (place / "all").mkdir(mode=0o700)
    out = ("--out", every)
    wanted = ("--name", "Board", "--members", "2", "--threshold", "2")
    done("group", "begin", two, *wanted, "--me", "2", *out)
    join = ("--join", every / "round1-2.json", "--me", "1")
    steps = _killed(place, [("begin", one, *join, *out), ("deal", one, every, *out)])
    done("group", "deal", two, every, *out)
    steps += _killed(place, [("finish", one, every)])
    digest = _digest(done("group", "finish", two, every))
    steps += _killed(place, [("confirm", one, digest)])
    done("group", "confirm", two, digest)
    assert _signs(_shares(place, (1, 2)))

    new = place / "new"
    new.mkdir(mode=0o700)
    start = ("--dealers", "1,2", "--members", "1,3", "--threshold", "2")
    out = ("--out", new / "all")
    steps += _killed(place, [("reshare", new / "1", "--from", one, *start, *out)])
    joined = ("--join", new / "all/round1-1.json", "--me")
    done("group", "begin", new / "2", *joined, "2", "--from", two, *out)
    done("group", "begin", new / "3", *joined, "3", *out)
    old = _shares(place, (1,))[0].group
    shares = _go_on(new, (1, 2, 3), (1, 3))
    assert shares[0].group.key == old.key
    assert _signs(shares)
    assert min(steps) >= 5
    assert sum(steps) > 80


def _killed(place: Path, commands: Sequence[Sequence[str | Path]]) -> list[int]:
    return killed_at_every_step(place, [["group", *map(str, command)] for command in commands])


def test_a_new_member_only_receives(tmp_path: Path) -> None:
    """Who is not a dealer of a resharing has nothing to send, and is told so."""
    from keep_ledger.multisig.errors import RefusedError  # noqa: PLC0415
    from keep_ledger.multisig.threshold.dealer import split_new  # noqa: PLC0415

    old = split_new(2, (1, 2))
    ceremony = Ceremony.resharing(bytes(32), old[0].group, (1, 2), 2, (1, 3))
    begun = [dkg_files.begin("Board", ceremony, i, s) for i, s in enumerate(old, 1)]
    begun.append(dkg_files.begin("Board", ceremony, 3))
    hellos = [each.hello for each in begun]
    with pytest.raises(RefusedError, match="is not a dealer"):
        dkg_files.deal(begun[2], hellos)
    with pytest.raises(RefusedError, match="is not a member of the new group"):
        dkg_files.finish(begun[1], hellos, [])
    dealt = [s for each in begun[:2] for s in dkg_files.deal(each, hellos)]
    for_three = [s for s in dealt if s.member == 3]
    with pytest.raises(RefusedError, match=r"participant 2: no round-two package"):
        dkg_files.finish(begun[2], hellos, for_three[:1])
    for_one = [s for s in dealt if s.member == 1]
    with pytest.raises(RefusedError, match="for another member"):
        dkg_files.finish(begun[2], hellos, for_one)
    assert dkg_files.finish(begun[2], hellos, for_three).identifier == 3
