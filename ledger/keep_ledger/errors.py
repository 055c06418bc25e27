"""What can go wrong with a ledger, in one picture.

LedgerError
  BadIdError               a text that is no DID or object id of Indy
  BadWriteError            a write that no ledger could take as it stands
  NotWrittenError          a signed request that the ledger refused; says who has to do what
  LedgerUnavailableError   no trustworthy answer in time; a write may still land
    GenesisError           the genesis transactions are missing, malformed or not the pinned ones

To the registry port a refusal by the ledger is no error but a value: `Failed` or `NeedsSignatures`.
"""

from __future__ import annotations


class LedgerError(Exception):
    """Base of every error that this package raises on purpose."""


class BadIdError(LedgerError, ValueError):
    """The text is no well-formed id of a DID, schema or credential definition."""


class BadWriteError(LedgerError, ValueError):
    """The write contradicts itself or a limit of the ledger; nothing was sent."""


class NotWrittenError(LedgerError):
    """The ledger refused a signed request; nothing was written, and nothing of it can land later.

    Unless something changes first: it could be sent again when a rule or a key is another one.
    """


class LedgerUnavailableError(LedgerError):
    """The ledger gave no answer that can be trusted; the same call may succeed later.

    After `submit` it does not mean that the write failed: it may land minutes later. Look with
    `find` before the same signed request is sent again.
    """


class GenesisError(LedgerUnavailableError):
    """There is no usable genesis; the text says what a person has to do about it."""
