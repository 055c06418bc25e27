"""The transaction author agreement of a network."""

from __future__ import annotations

from keep_ledger import codes
from keep_ledger.indy import replies, requests
from keep_ledger.indy.pool import Pool
from keep_ledger.interface import Taa


async def in_force(pool: Pool) -> Taa | None:
    """Read the agreement that authors must accept now, and how they may.

    The newest is read for its digest, then again by that digest: only the proof of the second answer
    shows where the version ends and the text begins.

    Raises:
        LedgerUnavailableError: there is no answer that can be trusted.
    """
    latest = replies.taa(await pool.ask(requests.get_taa(), codes.CONFIG))
    if latest is None:
        return None
    by_digest = requests.get_taa(latest[2])
    found = replies.taa(await pool.ask(by_digest, codes.CONFIG))
    if found is None or found[2] != latest[2]:
        raise replies.UntrustedReplyError("the author agreement in force is not there")
    aml = replies.aml(await pool.ask(requests.get_aml(), codes.CONFIG))
    return Taa(*found, mechanisms=aml)
