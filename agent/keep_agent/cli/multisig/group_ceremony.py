"""`indykeep group begin|reshare|deal|finish|confirm`: a key in three rounds, with files.

Each command can be killed and repeated: decisions are stored before they are shown.
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
from keep_ledger.multisig.errors import RefusedError, named
from keep_ledger.multisig.threshold import dkg_files
from keep_ledger.multisig.threshold.dkg import Ceremony
from keep_ledger.multisig.threshold.dkg_files import Begun, Hello, Sealed
from keep_ledger.multisig.threshold.shares import MAX_SIGNERS, Share

_BLOCK = 4
_LINE = 8


def begin(args: argparse.Namespace) -> int:
    """Round one of a new key, or of a ceremony that somebody else started."""
    if args.join is None:
        if None in (args.name, args.members, args.threshold):
            raise BadCommandError(
                "to start, give --name, --members and --threshold; to join, give --join FILE with a file "
                "of round one of another member"
            )
        fresh = Ceremony.new_key(secrets.token_bytes(32), args.threshold, up_to(args.members))
        return _begin(args, checked_name(args.name), fresh, started=True)
    if (args.name, args.members, args.threshold) != (None, None, None):
        raise BadCommandError("with --join, name, members and threshold come from the file")
    hello = read_value(args.join, Hello)
    return _begin(args, hello.name, hello.ceremony, started=False)


def reshare(args: argparse.Namespace) -> int:
    """Start a resharing: same key, same DID, new shares."""
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
        say("You are not a dealer: there is nothing to send. Go on with `group finish`.")
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
    say(f"Your share is valid. The verkey of the group is {share.group.verkey}")
    if args.transcript is not None:
        return _confirm(folder, args.transcript)
    say(_compare(digest))
    note(f"Before the share can sign: indykeep group confirm {folder.path} DIGEST")
    return 0


def confirm(args: argparse.Namespace) -> int:
    """People have compared the digest: the share can be used from now on."""
    return _confirm(Folder.of(args.folder), " ".join(args.digest))


def up_to(count: int) -> range:
    """Return the numbers of this many members.

    Raises:
        BadCommandError: there are too many.
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
        raise NotNowError(f"{folder.path} has a share already: use a folder for each share")
    begun = folder.begun()
    if begun is None:
        begun = dkg_files.begin(name, ceremony, args.me, _old_share(args, ceremony))
        Folder.new(args.folder).keep_begun(begun)
    elif not _same(begun, name, ceremony, args.me, started=started):
        raise NotNowError(f"{folder.path} has another ceremony: use another folder")
    path = folder.hand_out(f"round1-{args.me}.json", begun.hello, args.out)
    say(_sentence(begun.hello))
    say(f"For everybody: {path}")
    note(
        "The others begin with --join and this file. When you have the files of all of them:"
        f"\n  indykeep group deal {folder.path} FILES..."
    )
    return 0


def _same(begun: Begun, name: str, ceremony: Ceremony, me: int, *, started: bool) -> bool:
    """Whether a repeated command means the same ceremony; the session was drawn the first time."""
    mine = begun.hello.ceremony
    if started:
        ceremony = ceremony.model_copy(update={"session": mine.session})
    return (begun.hello.name, mine, begun.hello.identifier) == (name, ceremony, me)


def _old_share(args: argparse.Namespace, ceremony: Ceremony) -> Share | None:
    if ceremony.old is None:
        if args.old is not None:
            raise BadCommandError("this makes a new key: --from is for a resharing")
        return None
    if args.me not in ceremony.dealers:
        if args.old is None and args.me in ceremony.old.shares:
            note(
                "You have a share of the old group and are not a dealer: your number stays the same."
            )
        return None
    if args.old is None:
        raise BadCommandError("you are a dealer: name the folder of your share with --from")
    return Folder.of(args.old).share()


def _begun(folder: Folder) -> Begun:
    begun = folder.begun()
    if begun is None:
        why = "is confirmed already" if folder.has_share() else "has not begun"
        raise NotNowError(f"{folder.path} {why}")
    return begun


def _received(begun: Begun, paths: Iterable[Path]) -> tuple[list[Hello], list[Sealed]]:
    """Read the files of both rounds; of a folder, those that are for me."""
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
    """Use one list of hellos only: with other keys in them the same secrets would be sent again."""
    kept = folder.hellos()
    if not kept:
        dkg_files.agreed(begun.hello, hellos)
        folder.keep_hellos(hellos)
        return hellos
    digests = {hello.digest for hello in kept}
    if strangers := sorted(h.identifier for h in hellos if h.digest not in digests):
        raise RefusedError(
            f"{named(strangers)}: this file of round one is not the one that you used before. "
            "Somebody began twice, or the file was changed: all members must start again, in new "
            "folders",
            strangers,
        )
    return kept


def _confirm(folder: Folder, text: str) -> int:
    held = folder.unconfirmed()
    if held is None and folder.has_share():
        held = folder.held()
    if held is None or held.agreed is None:
        raise NotNowError(f"{folder.path} has nothing to confirm: run `group finish` first")
    given = "".join(text.split()).replace("-", "").lower()
    if given != held.agreed.hex():
        raise RefusedError(
            "the digest here is another one. Read both again; if they differ, somebody changed a file "
            "on the way: do not use this key, and start again with all members"
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
            f"The key {ceremony.old.verkey} is reshared by {dealers} of the old group: compare it",
            "with the ledger. The DID does not change.",
            "Old shares can still sign together until they are deleted. If a former member cannot be",
            "trusted, resharing is not enough: rotate the DID to the key of a new group.",
        ]
    return "\n".join(lines)


def _compare(digest: bytes) -> str:
    return (
        "Compare this digest with everybody, by telephone or face to face, before you send or use anything:"
        f"\n{blocks(digest)}"
    )


def _when_leaving(begun: Begun) -> None:
    if begun.hello.identifier not in begun.hello.ceremony.members:
        note(
            "You are not a member of the new group. When its members have confirmed, delete this folder "
            "and the one of your old share."
        )
