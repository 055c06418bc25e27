"""The rounds of `dkg` as files that may be sent by any way: no secret is in clear text.

Every party, dealer or new member, first sends a `Hello`: the ceremony as it understands it, a key for this
ceremony only (X25519), and, if it is a dealer, its round-one package. What a dealer sends to one member is
`Sealed` between their two keys: encrypted and authenticated (crypto_box of libsodium). It contains
`agreed`, the digest of all hellos as the dealer saw them.

Whoever changes hellos on the way, keys included, changes `agreed`: so people compare it aloud, by a separate
way, before they deal and before the key is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from nacl import bindings as sodium
from nacl.exceptions import CryptoError
from pydantic import Field, model_validator

from keep_ledger.multisig.errors import RefusedError, named, refuse
from keep_ledger.multisig.recovery.slip39 import Label
from keep_ledger.multisig.threshold import dkg
from keep_ledger.multisig.threshold.curve import sha256
from keep_ledger.multisig.threshold.dkg import Ceremony, Dealing, Round1Package, Round2Package
from keep_ledger.multisig.threshold.shares import Digest, HexBytes, Identifier, Share, Wire


class Hello(Wire):
    """What one party sends to everybody in round one. Public.

    Attributes:
        name: of the group, for people.
        identifier: of the party. In a resharing, members who stay keep their numbers, and the numbers
            of former members are not used again.
        key: X25519, for this ceremony only.
        package: of a dealer; None for a new member who only receives.
    """

    KIND = "group-hello/1"
    name: Label
    ceremony: Ceremony
    identifier: Identifier
    key: Digest
    package: Round1Package | None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.identifier not in parties(self.ceremony):
            raise ValueError("takes no part in this ceremony")
        package = self.package
        if (package is not None) != (self.identifier in self.ceremony.dealers):
            raise ValueError("a dealer must have a round-one package, and others must not")
        if package is not None and package.identifier != self.identifier:
            raise ValueError("the round-one package belongs to another party")
        return self


class Sealed(Wire):
    """What a dealer sends to one member, readable by that member only. It may be sent by any way.

    Attributes:
        box: nonce (24 bytes) and crypto_box of `agreed` and the round-two package.
    """

    KIND = "group-sealed/1"
    ceremony: Digest
    identifier: Identifier
    member: Identifier
    box: HexBytes


class Begun(Wire):
    """A party's own state from the first round to the last. As secret as a share."""

    KIND = "group-begun/1"
    hello: Hello
    secret: Digest = Field(repr=False)
    dealing: Dealing | None = Field(repr=False)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sodium.crypto_scalarmult_base(self.secret) != self.hello.key:
            raise ValueError("the secret is not that of the hello")
        if (self.dealing and self.dealing.package) != self.hello.package:
            raise ValueError("the dealing is not that of the hello")
        return self


def parties(ceremony: Ceremony) -> tuple[int, ...]:
    """All parties: dealers and members, in order."""
    return tuple(sorted({*ceremony.dealers, *ceremony.members}))


def begin(name: str, ceremony: Ceremony, identifier: int, share: Share | None = None) -> Begun:
    """Round one. Store the result, then send `hello` to everybody.

    Args:
        share: of the old group, for a dealer in a resharing.

    Raises:
        RefusedError: the party takes no part, or the share is not the one that is needed.
    """
    if identifier not in parties(ceremony):
        raise RefusedError(f"participant {identifier} takes no part in this ceremony")
    dealing = None
    if identifier in ceremony.dealers:
        dealing = dkg.begin(ceremony, identifier, share)
    public, secret = sodium.crypto_box_keypair()
    hello = Hello(
        name=name,
        ceremony=ceremony,
        identifier=identifier,
        key=public,
        package=None if dealing is None else dealing.package,
    )
    return Begun(hello=hello, secret=secret, dealing=dealing)


def agreed(mine: Hello, hellos: Sequence[Hello]) -> bytes:
    """Check the hellos of all parties, mine included, and return their digest: 32 bytes, the same for all.

    Raises:
        RefusedError: one is missing, occurs twice, is of another ceremony or name, is not proven, or mine
            was changed; `culprits` names whose.
    """
    given = [hello.identifier for hello in hellos]
    expected = parties(mine.ceremony)
    refuse(
        (i for i in set(given) if given.count(i) > 1), "sent two different files of round one"
    )
    other = (h.identifier for h in hellos if h.ceremony != mine.ceremony or h.name != mine.name)
    refuse(other, "the file is of another ceremony, or has another name for the group")
    if missing := sorted(set(expected) - set(given)):
        raise RefusedError(f"{named(missing)}: no file of round one yet")
    if mine not in hellos:
        raise RefusedError("my own file came back changed: the transport cannot be trusted")
    dkg.transcript(mine.ceremony, _packages(hellos))
    ordered = sorted(hellos, key=lambda hello: hello.identifier)
    return sha256(b"group agreed/1", *(hello.digest for hello in ordered))


def deal(begun: Begun, hellos: Sequence[Hello]) -> tuple[Sealed, ...]:
    """Round two: what a dealer sends to each other member.

    Never do this for two different lists of hellos: store the list first; see `agreed`.

    Raises:
        RefusedError: as for `agreed`, or this party is not a dealer.
    """
    digest = agreed(begun.hello, hellos)
    keys = {hello.identifier: hello.key for hello in hellos}
    return tuple(
        Sealed(
            ceremony=package.ceremony,
            identifier=package.identifier,
            member=member,
            box=_box(digest + package.to_text().encode(), keys[member], begun.secret),
        )
        for member, package in _dealt(begun, hellos).items()
        if member != begun.hello.identifier
    )


def finish(begun: Begun, hellos: Sequence[Hello], received: Sequence[Sealed]) -> Share:
    """Round three: open what was dealt to this member, check it and add it up.

    Raises:
        RefusedError: as for `agreed` and `dkg.finish`, or a file is for another member, cannot be opened, or
            its sender saw other hellos; names whose.
    """
    me, ceremony = begun.hello.identifier, begun.hello.ceremony
    if me not in ceremony.members:
        raise RefusedError(
            f"participant {me} is not a member of the new group: nothing to finish"
        )
    digest = agreed(begun.hello, hellos)
    keys = {hello.identifier: hello.key for hello in hellos}
    refuse(
        (s.identifier for s in received if s.member != me), "this file is for another member"
    )
    other = (s.identifier for s in received if s.ceremony != ceremony.digest)
    refuse(other, "this file is of another ceremony")
    refuse({s.identifier for s in received} - set(ceremony.dealers), "is not a dealer")
    packages = [_open(sealed, keys, begun.secret, digest) for sealed in received]
    if begun.dealing is not None:
        packages.append(_dealt(begun, hellos)[me])
    return dkg.finish(ceremony, me, _packages(hellos), packages)


def _packages(hellos: Sequence[Hello]) -> list[Round1Package]:
    return [hello.package for hello in hellos if hello.package is not None]


def _dealt(begun: Begun, hellos: Sequence[Hello]) -> dict[int, Round2Package]:
    if begun.dealing is None:
        raise RefusedError(
            f"participant {begun.hello.identifier} is not a dealer: go on with finish"
        )
    return dkg.deal_out(begun.dealing, _packages(hellos))


def _box(message: bytes, key: bytes, secret: bytes) -> bytes:
    nonce = sodium.randombytes(sodium.crypto_box_NONCEBYTES)
    try:
        return nonce + sodium.crypto_box(message, nonce, key, secret)
    except (CryptoError, RuntimeError) as error:  # a key of small order
        raise RefusedError("a file of round one has a key that is not valid") from error


def _open(
    sealed: Sealed, keys: dict[int, bytes], secret: bytes, digest: bytes
) -> Round2Package:
    who = [sealed.identifier]
    size = sodium.crypto_box_NONCEBYTES
    try:
        text = sodium.crypto_box_open(
            sealed.box[size:], sealed.box[:size], keys[sealed.identifier], secret
        )
    except (CryptoError, RuntimeError, ValueError, TypeError):
        text = b""
    refuse(
        who if not text else (),
        "this file was changed on the way, or is not from this participant",
    )
    if text[:32] != digest:
        raise RefusedError(
            f"participant {sealed.identifier} saw other files of round one than I: somebody sent "
            "different files to different people; start again"
        )
    try:
        return Round2Package.from_text(text[32:].decode(), sealed.identifier)
    except UnicodeDecodeError as error:
        raise RefusedError("a sealed file does not contain a package", who) from error
