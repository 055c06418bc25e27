"""What can go wrong when several people share control, in one picture.

LedgerError
  MultisigError
    RefusedError     an input is malformed, forged or of another session; says whose
    SpentError       nonces were used, replaced or never made here: commit again
    RecoveryError    shares on paper do not restore their key
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
            empty when that is not known (it may have been changed on the way).
    """

    def __init__(self, reason: str, culprits: Iterable[int] = ()) -> None:
        super().__init__(reason)
        self.culprits = tuple(sorted(culprits))


class SpentError(MultisigError):
    """These nonces cannot be used (again). The share is safe and the proposal stays usable."""


class RecoveryError(MultisigError, ValueError):
    """The shares are mistyped, too few, of another set, or the passphrase is wrong."""


def named(identifiers: Iterable[int]) -> str:
    """`participant 1`, `participants 1, 3`: the culprits in a message."""
    listed = sorted(identifiers)
    return f"participant{'s' * (len(listed) > 1)} {', '.join(map(str, listed))}"


def refuse(culprits: Iterable[int], why: str) -> None:
    """Refuse an input if there are culprits.

    Raises:
        RefusedError: there are culprits; it names them.
    """
    if found := sorted(culprits):
        raise RefusedError(f"{named(found)}: {why}", found)
