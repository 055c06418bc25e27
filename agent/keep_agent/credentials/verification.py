"""What happens when our equations and the AnonCreds library differ on a proof (SEC-P37)."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from keep_agent.core.machine import Delete, Put
from keep_agent.core.message import Json
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_zkp.voices import Voices

log = logging.getLogger(__name__)

VERIFICATION = "verification"
DISAGREEMENT = "disagreement"


class Verification:
    """One tenant's part in who verifies proofs; the mode itself is the process's.

    Args:
        voices: of the process.
    """

    def __init__(self, profile: Profile, voices: Voices) -> None:
        self._profile = profile
        self.voices = voices

    async def load(self) -> None:
        """Go on in mode `both` after a restart, if a disagreement was noted and nobody has said otherwise."""
        if await self._profile.fetch(VERIFICATION, DISAGREEMENT) is not None:
            self.voices.distrust(self._profile.name)

    async def alarm(self, cred_def_ids: Iterable[str]) -> None:
        """Tell of a proof on which the two differ: in the log, as an event, and in a record that outlives a restart.

        Args:
            cred_def_ids: of the credentials presented; no value that was shown is told.
        """
        self.voices.distrust(self._profile.name)
        ids = sorted(set(cred_def_ids))
        log.error(
            "our check of a proof and the library's do not agree; it is refused, and both are asked from now on",
            extra={"rule": "SEC-P37", "cred_defs": ids},
        )
        event: Json = {"type": VERIFICATION, "state": DISAGREEMENT, "cred_def_ids": ids}
        put = Put(VERIFICATION, DISAGREEMENT, {"cred_def_ids": ids})
        await self._profile.commit(Commit(writes=(put,), events=(event,)))

    async def trust(self) -> Json:
        """Return to the configured mode, and tell what is in force then: still `both` while another tenant distrusts."""
        event: Json = {"type": VERIFICATION, "state": "trusted"}
        writes = (Delete(VERIFICATION, DISAGREEMENT),)
        await self._profile.commit(Commit(writes=writes, events=(event,)))
        self.voices.trust(self._profile.name)
        return self.status()

    def status(self) -> Json:
        """Tell the mode as configured and in force, the disagreements, and the memory of the tables."""
        voices = self.voices
        return {
            "mode": voices.mode,
            "in_force": voices.in_force,
            "disagreements": voices.disagreements,
            "table_bytes": voices.equations.tables.size if voices.equations else 0,
        }
