"""What can go wrong with a ledger, in one picture.

LedgerError
  BadIdError               a text that is not a DID or object id of Indy
  BadWriteError            a write that no ledger could take as it stands
  NotWrittenError          a signed request that the ledger refused; the text says what to do
  LedgerUnavailableError   no trustworthy answer in time; a write may still land
    GenesisError           the genesis transactions are missing, malformed or not the pinned ones

In the registry port a refusal by the ledger is a value, not an error: `Failed` or `NeedsSignatures`.
"""

from __future__ import annotations


class LedgerError(Exception):
    """Base of every error that this package raises on purpose."""


class BadIdError(LedgerError, ValueError):
    """The text is not a well-formed id of a DID, schema or credential definition."""


class BadWriteError(LedgerError, ValueError):
    """The write contradicts itself or a limit of the ledger; nothing was sent."""


class NotWrittenError(LedgerError):
    """The ledger refused a signed request: nothing was written.

    The same request may be accepted later, when a rule or a key has changed.
    """


class LedgerUnavailableError(LedgerError):
    """The ledger gave no answer that can be trusted; the same call may succeed later.

    After `submit` it does not mean that the write failed: it may be written minutes later. Call
    `find` before you send the same signed request again.
    """


class GenesisError(LedgerUnavailableError):
    """There is no usable genesis; the text says what to do."""
