"""All errors of credentials and proofs.

ZkpError
  RefusedError   what another party sent breaks a rule; `rule` names it (SEC-I04)
  InvalidError   an argument of our own caller is not valid
  BusyError      the queue is full or the time is up; the same call may succeed later
  LibraryError   the AnonCreds library refused; only its error code is kept, not its message
"""

from __future__ import annotations


class ZkpError(Exception):
    """Base of every error that this package raises on purpose."""


class RefusedError(ZkpError):
    """What another party sent breaks a rule; nothing of it was used.

    Attributes:
        rule: the name of the rule, as in the table of security checks: `SEC-P08`.
        words: what is wrong, without that name.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule
        self.words = message


class InvalidError(ZkpError):
    """An argument of our own caller is not valid."""


class BusyError(ZkpError):
    """The queue of native calls is full, or there was no answer in time."""


class LibraryError(ZkpError):
    """The AnonCreds library refused.

    Its message is dropped: an error that is shown or logged must contain nothing of a credential,
    and nothing of another tenant.

    Attributes:
        code: the library's error code in words (`PROOF_REJECTED`); a hint.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"anoncreds refused: {code}")
        self.code = code
