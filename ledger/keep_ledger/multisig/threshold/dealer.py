"""A key that one party knows, split for a group: the trusted dealer of RFC 9591 appendix C.

Use it to move an existing DID from one key to a group without a write to the ledger. Note the risk: whoever
had the seed before may have kept it, and can then sign alone and unnoticed while this key is on the ledger. A
group that does not accept that makes a new key (`dkg`) and has the DID rotated to it.

Shares cannot be turned back into a seed: the seed is hashed to the key, and the shares are of the key.
Joining them would also give one machine the whole key. To go back to a single key the group signs a write
that rotates the DID to a new ordinary key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import ValidationError

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold.curve import (
    SIZE,
    Scalar,
    evaluate,
    random_scalar,
    reduced,
    times_base,
)
from keep_ledger.multisig.threshold.shares import Group, Share, reason


def split_seed(seed: bytes, threshold: int, members: Sequence[int]) -> tuple[Share, ...]:
    """Split the Ed25519 key of a seed; the group's key is the seed's verification key.

    Give each member its share secretly and delete the seed. All members compare `Group.digest`.

    Args:
        seed: 32 bytes, the secret key of RFC 8032 section 5.1.5, as Indy wallets hold it.
        threshold: at least 2.
        members: identifiers from 1 on, in order.

    Raises:
        RefusedError: the seed does not have 32 bytes, or the group is not possible.
    """
    if len(seed) != SIZE:
        raise RefusedError("an Ed25519 seed has 32 bytes")
    wide = bytearray(hashlib.sha512(seed).digest()[:SIZE])
    wide[0] &= 248
    wide[31] = (wide[31] & 127) | 64
    return _split(reduced(bytes(wide) + bytes(SIZE)), threshold, members)


def split_new(threshold: int, members: Sequence[int]) -> tuple[Share, ...]:
    """Draw a key and split it, for tests and drills. For real keys use `dkg`, which needs no trusted dealer.

    Raises:
        RefusedError: the group is not possible.
    """
    return _split(random_scalar(), threshold, members)


def _split(
    secret: Scalar,
    threshold: int,
    members: Sequence[int],
    others: Sequence[Scalar] | None = None,
) -> tuple[Share, ...]:
    """trusted_dealer_keygen of RFC 9591 appendix C; `others` are the further coefficients."""
    if others is None:
        others = [random_scalar() for _ in range(threshold - 1)]
    values = {member: evaluate((secret, *others), member) for member in members}
    try:
        group = Group(
            threshold=threshold,
            key=times_base(secret),
            members=tuple((member, times_base(value)) for member, value in values.items()),
        )
    except ValidationError as error:
        raise RefusedError(f"this group is not possible: {reason(error)}") from error
    return tuple(
        Share(identifier=member, secret=value, group=group) for member, value in values.items()
    )
