"""`indykeep group begin|hand-on|deal|finish|confirm`: a key in three rounds, by files.

Each command can be killed and given again: what was decided is kept first, and shown again.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from keep_agent.cli.multisig.input_files import kind_of, read_value
from keep_agent.cli.multisig.member_folder import Folder, HeldShare, checked_name
from keep_agent.cli.multisig.output import note, say
from keep_agent.errors import BadCommandError, NotNowError
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold import dkg_files
from keep_ledger.multisig.threshold.dkg import Ceremony
from keep_ledger.multisig.threshold.dkg_files import Begun, Hello, Sealed
from keep_ledger.multisig.threshold.shares import MAX_SIGNERS, Share

_BLOCK = 4
_LINE = 8


def begin(args: argparse.Namespace) -> int:
    """Round one of a new key, or of one that is handed on when somebody else started that."""
    if args.join is None:
        if None in (args.name, args.members, args.threshold):
            raise BadCommandError(
                "who starts gives --name, --members and --threshold; who joins gives --join FILE, "
                "the file of round one of anybody who has begun"
            )
        fresh = Ceremony.new_key(secrets.token_bytes(32), args.threshold, up_to(args.members))
        return _begin(args, checked_name(args.name), fresh, started=True)
    if (args.name, args.members, args.threshold) != (None, None, None):
        raise BadCommandError("with --join, name, members and threshold come from the file")
    hello = read_value(args.join, Hello)
    return _begin(args, hello.name, hello.ceremony, started=False)


def reshare(args: argparse.Namespace) -> int:
    """Start handing a key on: same key, same DID, new shares."""
    held = Folder.of(args.old).held()
    wanted = Ceremony.resharing(
        secrets.token_bytes(32), held.share.group, args.dealers, args.threshold, args.members
    )
    args.me = held.share.identifier
    return _begin(args, held.name, wanted, started=True)


def deal(args: argparse.Namespace) -> int:
    """Round two."""
    folder = Folder.of(args.folder)
    begun = _begun(folder)
    hellos = _settled(folder, begun, _received(begun, args.files)[0])
    digest = dkg_files.agreed(begun.hello, hellos)
    if begun.dealing is None:
        say("You only receive here: nothing to send. Go on with `group finish`.")
    else:
        sealed = dkg_files.deal(begun, hellos)
        for each in sealed:
            name = f"round2-{each.identifier}-to-{each.member}.json"
            path = folder.hand_out(name, each, args.out)
            say(f"For participant {each.member} only: {path}")
    say(_compare(digest))
    _when_leaving(begun)
    return 0


def finish(args: argparse.Namespace) -> int:
    """Round three."""
    folder = Folder.of(args.folder)
    if folder.has_share():
        raise NotNowError(f"{folder.path} is finished and confirmed already")
    begun = _begun(folder)
    given, sealed = _received(begun, args.files)
    hellos = _settled(folder, begun, given)
    share = dkg_files.finish(begun, hellos, sealed)
    digest = dkg_files.agreed(begun.hello, hellos)
    folder.keep_unconfirmed(HeldShare(name=begun.hello.name, agreed=digest, share=share))
    say(f"Your share fits. The verkey of the group is {share.group.verkey}")
    if args.transcript is not None:
        return _confirm(folder, args.transcript)
    say(_compare(digest))
    note(f"The share does not sign before: indykeep group confirm {folder.path} DIGEST")
    return 0


def confirm(args: argparse.Namespace) -> int:
    """People compared the digest: the share is used from now on."""
    return _confirm(Folder.of(args.folder), " ".join(args.digest))


def up_to(count: int) -> range:
    """Return the numbers of so many members.

    Raises:
        BadCommandError: more than can be.
    """
    if count > MAX_SIGNERS:
        raise BadCommandError(f"a group has at most {MAX_SIGNERS} members")
    return range(1, count + 1)


def blocks(digest: bytes) -> str:
    """Write a digest so that it can be read aloud."""
    text = digest.hex()
    parts = [text[i : i + _BLOCK] for i in range(0, len(text), _BLOCK)]
    return "\n".join("  " + " ".join(parts[i : i + _LINE]) for i in range(0, len(parts), _LINE))


def _begin(args: argparse.Namespace, name: str, ceremony: Ceremony, *, started: bool) -> int:
    folder = Folder.new(args.folder, make=False)
    if folder.has_share():
        raise NotNowError(
            f"{folder.path} holds a share already: every share has its own folder"
        )
    begun = folder.begun()
    if begun is None:
        begun = dkg_files.begin(name, ceremony, args.me, _old_share(args, ceremony))
        Folder.new(args.folder).keep_begun(begun)
    elif not _same(begun, name, ceremony, args.me, started=started):
        raise NotNowError(f"{folder.path} has begun something else: take a folder of its own")
    path = folder.hand_out(f"round1-{args.me}.json", begun.hello, args.out)
    say(_sentence(begun.hello))
    say(f"For everybody: {path}")
    note(
        "The others begin with --join and this file. When you have the file of every one of them:"
        f"\n  indykeep group deal {folder.path} FILES..."
    )
    return 0


def _same(begun: Begun, name: str, ceremony: Ceremony, me: int, *, started: bool) -> bool:
    """Whether a command given again means what was begun; who started drew the session then."""
    mine = begun.hello.ceremony
    if started:
        ceremony = ceremony.model_copy(update={"session": mine.session})
    return (begun.hello.name, mine, begun.hello.identifier) == (name, ceremony, me)


def _old_share(args: argparse.Namespace, ceremony: Ceremony) -> Share | None:
    if ceremony.old is None:
        if args.old is not None:
            raise BadCommandError("this makes a new key: --from is for handing a key on")
        return None
    if args.me not in ceremony.dealers:
        if args.old is None and args.me in ceremony.old.shares:
            note(
                "You hold a share of the old group and do not deal: keep your number, as you do."
            )
        return None
    if args.old is None:
        raise BadCommandError("you deal here: --from names the folder of your share of the key")
    return Folder.of(args.old).share()


def _begun(folder: Folder) -> Begun:
    begun = folder.begun()
    if begun is None:
        why = "is confirmed already" if folder.has_share() else "has not begun"
        raise NotNowError(f"{folder.path} {why}")
    return begun


def _received(begun: Begun, paths: Iterable[Path]) -> tuple[list[Hello], list[Sealed]]:
    """Read the files of both rounds; a folder stands for what is in it for me."""
    mine = begun.hello
    hellos = {mine.digest: mine}
    sealed: dict[bytes, Sealed] = {}
    for path in _files(paths):
        kind = kind_of(path)
        if kind == Hello.KIND:
            hello = read_value(path, Hello)
            hellos[hello.digest] = hello
        elif kind == Sealed.KIND:
            given = read_value(path, Sealed)
            if given.member == mine.identifier:
                sealed[given.digest] = given
        else:
            raise BadCommandError(f"{path} is not a file of a round")
    return list(hellos.values()), list(sealed.values())


def _files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("round[12]-*.json")) if path.is_dir() else [path]
        found += inside
    return found


def _settled(folder: Folder, begun: Begun, hellos: Sequence[Hello]) -> Sequence[Hello]:
    """Go on with one list of hellos, ever: other keys in them would get the same secrets again."""
    kept = folder.hellos()
    if not kept:
        dkg_files.agreed(begun.hello, hellos)
        folder.keep_hellos(hellos)
        return hellos
    digests = {hello.digest for hello in kept}
    if strangers := sorted(h.identifier for h in hellos if h.digest not in digests):
        raise RefusedError(
            f"participant {', '.join(map(str, strangers))}: this file of round one is another than "
            "the one you went on with. Somebody began twice, or changed it: all start again, in new "
            "folders",
            strangers,
        )
    return kept


def _confirm(folder: Folder, text: str) -> int:
    held = folder.unconfirmed()
    if held is None and folder.has_share():
        held = folder.held()
    if held is None or held.agreed is None:
        raise NotNowError(f"{folder.path} has nothing to confirm: `group finish` comes first")
    given = "".join(text.split()).replace("-", "").lower()
    if given != held.agreed.hex():
        raise RefusedError(
            "that is not the digest here. Read both once more; if they differ, somebody changed a "
            "file on its way: nobody uses this key, all start again"
        )
    folder.keep_share(held)
    say(
        f"Confirmed. Participant {held.share.identifier} of {held.name!r} signs with "
        f"frost:{folder.path}"
    )
    return 0


def _sentence(hello: Hello) -> str:
    ceremony = hello.ceremony
    members = ", ".join(map(str, ceremony.members))
    lines = [
        f"{hello.name}: you are participant {hello.identifier}.",
        f"{ceremony.threshold} of the {len(ceremony.members)} members ({members}) will sign.",
    ]
    if ceremony.old is not None:
        dealers = ", ".join(map(str, ceremony.dealers))
        lines += [
            f"The key {ceremony.old.verkey} is handed on by {dealers} of the old group: compare it",
            "with the ledger. The DID stays as it is.",
            "Old shares still sign together until their holders delete them. If somebody left in",
            "anger, handing on is not enough: have the DID rotated to a new group's key.",
        ]
    return "\n".join(lines)


def _compare(digest: bytes) -> str:
    return (
        "Compare this with everybody, by telephone or face to face, before you send or use anything:"
        f"\n{blocks(digest)}"
    )


def _when_leaving(begun: Begun) -> None:
    if begun.hello.identifier not in begun.hello.ceremony.members:
        note(
            "You are not a member of the new group. When its members have confirmed, delete this folder "
            "and the one of your old share."
        )
