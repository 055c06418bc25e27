"""A holder with a modified program: it proves something easier than what was asked."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import aiohttp

from keep_agent.core.message import Json, Thread
from keep_agent.credentials.formats import PROOF, attach
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.presentations import Prover
from keep_agent.credentials.verification import Verification
from keep_agent.didcomm import envelope
from keep_agent.identity.keys import Keys
from keep_agent.protocols.present_proof_2 import Presentation
from keep_ledger.plugins import LedgerConfig, Ledgers
from keep_zkp.native import Native, Scope
from keep_zkp.voices import Voices
from network_and_agents import NETWORK, Agent
from store_search import opened

ENVELOPE = "application/didcomm-envelope-enc"


async def answer_easier(
    holder: Agent, genesis: Path, connection: str, thid: str, request: Json, day: date
) -> bool:
    """Answer a request as if it had asked for a birthday on or before another day.

    All the rest is genuine: the credential, the nonce, the keys of the connection, the thread.

    Args:
        connection: of the holder with the verifier.
        thid: thread of the verifier's request.
        request: the verifier's.

    Returns:
        Whether the verifier took the message; its verdict comes later.
    """
    easier = json.loads(json.dumps(request))
    for predicate in easier["requested_predicates"].values():
        predicate["p_value"] = int(f"{day:%Y%m%d}")
    config = LedgerConfig("indy", NETWORK, str(genesis))
    ledgers = Ledgers.open([config], _fetch_nothing)
    native = Native(threads=1, room=8, deadline_s=30)
    try:
        async with opened(holder) as profile:
            verification = Verification(profile, Voices())
            prover = Prover(
                profile, Scope(native, keep=8), LedgerObjects(ledgers), verification
            )
            proof = await prover.present(easier, "anoncreds", {}, {})
            peer = await profile.get("connection", connection)
            key = await Keys(profile.key).load(peer["my_key"])
    finally:
        native.close()
        await ledgers.close()
    form, attachment = attach(proof, "anoncreds", PROOF)
    message = Presentation(
        thread=Thread(thid=thid), formats=(form,), presentations__attach=(attachment,)
    )
    packed = envelope.pack(json.dumps(message.wire()).encode(), peer["recipients"], key)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            peer["endpoint"], data=packed, headers={"Content-Type": ENVELOPE}
        ) as response,
    ):
        return response.ok


async def _fetch_nothing(url: str) -> bytes:
    raise OSError(f"the genesis is a file here, not {url}")
