"""What can go wrong when several people share control, in one picture.

LedgerError
  MultisigError
    RefusedError     what somebody handed in is malformed, forged or of another session; says who
    SpentError       nonces that were used, replaced or never made here: commit again
    RecoveryError    shares on paper that do not give back the key they are for
"""

from __future__ import annotations

from collections.abc import Iterable

from keep_ledger.errors import LedgerError


class MultisigError(LedgerError):
    """Base of every error that this package raises on purpose."""


class RefusedError(MultisigError, ValueError):
    """An input breaks the protocol; nothing was changed, signed or sent because of it.

    Attributes:
        culprits: identifiers of those who provably made or passed on the bad value, in order;
            empty when it cannot be told who (a carrier may have changed it).
    """

    def __init__(self, reason: str, culprits: Iterable[int] = ()) -> None:
        super().__init__(reason)
        self.culprits = tuple(sorted(culprits))


class SpentError(MultisigError):
    """These nonces cannot be used (again). The share is safe and the proposal stays usable."""


class RecoveryError(MultisigError, ValueError):
    """The shares are mistyped, too few, of another set, or the passphrase is wrong."""


def named(identifiers: Iterable[int]) -> str:
    """`participant 1, 3`: how people are told who is meant."""
    return "participant " + ", ".join(map(str, sorted(identifiers)))


def refuse(culprits: Iterable[int], why: str) -> None:
    """Go on if there are no culprits.

    Raises:
        RefusedError: there are; it names them.
    """
    if found := sorted(culprits):
        raise RefusedError(f"{named(found)}: {why}", found)
