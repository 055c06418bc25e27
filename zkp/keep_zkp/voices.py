"""Who has to accept a proof: our own equations, the library, or both.

| mode | our equations | the library |
|---|---|---|
| `both` | first; what they refuse is refused | what they accept |
| `sampled` | always | as well, for the first that they accept of each key and for one in 16 at random |
| `library` | never | always |

A proof on which the two differ is refused, and from then on `both` is in force until somebody says otherwise: one
of them is wrong. Without gmpy2 (the extra `fast`) there are no equations, and the mode is `library`.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Collection
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from keep_zkp.public_key import PublicKey

if TYPE_CHECKING:
    from keep_zkp.equations import Equations

Mode = Literal["both", "sampled", "library"]

FIRST = 8
"""For how many accepted presentations of a key the library is asked as well."""
ONE_IN = 16
KEYS = 4096
"""How many keys are remembered; one that is forgotten is a new one."""


class Voices:
    """Decides who is asked about a proof; one for a process.

    Args:
        mode: as configured; without gmpy2 it is `library`.
        table_bytes: what the tables of powers may take.

    Attributes:
        mode: as configured.
        equations: None without gmpy2.
        disagreements: on how many proofs the two differed since the process started.
    """

    def __init__(self, mode: Mode = "both", table_bytes: int = 128 << 20) -> None:
        self.equations = _equations(table_bytes)
        self.mode: Mode = mode if self.equations else "library"
        self.disagreements = 0
        self._distrusting: set[str | None] = set()
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._lock = Lock()

    @property
    def in_force(self) -> Mode:
        """The mode that proofs are checked by now."""
        return "both" if self._distrusting and self.mode == "sampled" else self.mode

    def samples(self, keys: Collection[PublicKey], *, accepted: bool) -> bool:
        """Tell whether in mode `sampled` the library is asked as well.

        Args:
            keys: of the credentials presented.
            accepted: by our equations; only such a presentation counts as one of the first of its keys.
        """
        drawn = secrets.randbelow(ONE_IN) == 0
        with self._lock:
            new = accepted and [key for key in keys if self._count(key.digest) < FIRST]
        return drawn or bool(new)

    def disagree(self) -> None:
        """Note that the two differed on a proof."""
        with self._lock:
            self.disagreements += 1
        self.distrust(None)

    def distrust(self, who: str | None) -> None:
        """Ask both from now on.

        Args:
            who: names whose proof it was; None: not known yet.
        """
        self._distrusting.add(who)

    def trust(self, who: str) -> None:
        """Return to the configured mode, unless others distrust: this one has found out why they differed."""
        self._distrusting -= {who, None}

    def _count(self, digest: bytes) -> int:
        seen = self._seen.pop(digest, 0)
        self._seen[digest] = seen + 1
        if len(self._seen) > KEYS:
            self._seen.popitem(last=False)
        return seen


def _equations(table_bytes: int) -> Equations | None:
    try:
        module: Any = import_module("keep_zkp.equations")
    except ImportError:
        return None
    made: Equations = module.Equations(table_bytes)
    return made
