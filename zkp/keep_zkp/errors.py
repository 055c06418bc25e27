"""Everything that can go wrong with a credential or a proof, in one picture.

ZkpError
  RefusedError   what somebody else sent breaks one of our rules; `rule` names it (SEC-I04)
  InvalidError   what our own caller gave cannot work
  BusyError      no room or no time now; the same call may succeed later
  LibraryError   the AnonCreds library refused; only its code is kept, its words are dropped
"""

from __future__ import annotations


class ZkpError(Exception):
    """Base of every error that this room raises on purpose."""


class RefusedError(ZkpError):
    """Something from outside breaks a rule; nothing of it was used.

    Attributes:
        rule: the name of the rule, as in the table of security checks: `SEC-P08`.
        words: what is wrong, without that name.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule
        self.words = message


class InvalidError(ZkpError):
    """Our own caller asked for something that cannot work."""


class BusyError(ZkpError):
    """The queue of native work is full, or the answer did not come in time."""


class LibraryError(ZkpError):
    """The AnonCreds library refused.

    Its own words are dropped: an error shown or logged must hold nothing of a credential, and
    nothing of another tenant.

    Attributes:
        code: the library's error code in words (`PROOF_REJECTED`); a hint.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"anoncreds refused: {code}")
        self.code = code
