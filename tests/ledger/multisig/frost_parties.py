"""Parties for the tests: a vault in memory, and whole ceremonies among honest people."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from keep_ledger.multisig.errors import SpentError
from keep_ledger.multisig.threshold.dkg import (
    Ceremony,
    Round1Package,
    Round2Package,
    begin,
    deal_out,
    finish,
)
from keep_ledger.multisig.threshold.frost import Vault, aggregate, commit, sign
from keep_ledger.multisig.threshold.shares import (
    Commitment,
    Group,
    Nonces,
    Share,
    SignatureShare,
)

SESSION = bytes(range(32))
MESSAGE = b"identifier:V4SGRU86Z58d6TV7PBUe6f|operation:type:1|reqId:1"


def any_flip(test: Callable[[int, int], None]) -> Callable[[], None]:
    """Try a test with many a `place` and `bit`, for `flipped`."""
    tried = given(place=st.integers(0, 10**6), bit=st.integers(0, 7))(test)
    return settings(max_examples=150)(tried)


def flipped(text: str, place: int, bit: int) -> str:
    """The text with one bit of one byte turned over."""
    raw = bytearray(text.encode())
    raw[place % len(raw)] ^= 1 << bit
    return raw.decode("latin-1")


class MemoryVault:
    """Forgets when it gives out, as a vault must; for a test that does not crash."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Nonces] = {}

    def put(self, nonces: Nonces) -> None:
        self._kept[nonces.commitment.digest] = nonces

    def take(self, commitment: Commitment) -> Nonces:
        if commitment.digest not in self._kept:
            raise SpentError("gone")
        return self._kept.pop(commitment.digest)


def new_session() -> bytes:
    return secrets.token_bytes(32)


def committed(
    shares: Sequence[Share], vault: Vault, session: bytes = SESSION
) -> list[Commitment]:
    return [commit(share, session, vault) for share in shares]


def signed(
    shares: Sequence[Share],
    commitments: Sequence[Commitment],
    vault: Vault,
    message: bytes = MESSAGE,
    session: bytes = SESSION,
) -> list[SignatureShare]:
    return [sign(share, session, message, commitments, vault) for share in shares]


def sign_together(shares: Sequence[Share], message: bytes = MESSAGE) -> bytes:
    vault = MemoryVault()
    commitments = committed(shares, vault)
    parts = signed(shares, commitments, vault, message)
    return aggregate(shares[0].group, SESSION, message, commitments, parts)


def round_one(ceremony: Ceremony, old: Sequence[Share] = ()) -> dict[int, Round1Package]:
    """Only the packages; for what deals out, see `run`."""
    held = {share.identifier: share for share in old}
    return {i: begin(ceremony, i, held.get(i)).package for i in ceremony.dealers}


def run(
    ceremony: Ceremony, old: Sequence[Share] = ()
) -> tuple[list[Round1Package], dict[int, list[Round2Package]]]:
    """Rounds one and two among honest dealers: all packages, and by member what it receives."""
    held = {share.identifier: share for share in old}
    dealings = [begin(ceremony, i, held.get(i)) for i in ceremony.dealers]
    packages = [dealing.package for dealing in dealings]
    dealt = [deal_out(dealing, packages) for dealing in dealings]
    return packages, {m: [out[m] for out in dealt] for m in ceremony.members}


def finished(ceremony: Ceremony, old: Sequence[Share] = ()) -> list[Share]:
    packages, received = run(ceremony, old)
    return [finish(ceremony, m, packages, received[m]) for m in ceremony.members]


def new_group(threshold: int, count: int) -> list[Share]:
    """Shares of a key that nobody knows."""
    return finished(Ceremony.new_key(new_session(), threshold, range(1, count + 1)))


def verifies(group: Group, message: bytes, signature: bytes) -> bool:
    """By both libraries of this project: libsodium and Askar."""
    from aries_askar import Key, KeyAlg  # noqa: PLC0415  only here
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415
    from nacl.signing import VerifyKey  # noqa: PLC0415

    askar = Key.from_public_bytes(KeyAlg.ED25519, group.key).verify_signature(
        message, signature
    )
    try:
        VerifyKey(group.key).verify(message, signature)
    except BadSignatureError:
        assert not askar
        return False
    assert askar
    return True
