"""A holder with ten credentials, and the same one with a thousand."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from bench.load import Load, credentials, presentations
from bench.raw import VALUES, question
from bench.scene import Scene, follow, start
from two_agents import automate, connect

from keep_agent.core.catalog import load_catalog
from keep_agent.credentials.wallet import CREDENTIAL, held
from keep_agent.store.location import Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_agent.store.store import Store
from keep_agent.tenants.tenant import MAIN
from keep_ledger.interface import CredDef
from processes import free_ports

FEW = 10
AT_ONCE = 8


async def cost_of_many(on: Scene, many: int, proofs: int) -> tuple[float, int]:
    """Return what a proof costs a holder with many credentials by what it costs one with ten.

    All credentials fit every request: the worst case. What counts is the holder's CPU.

    Returns:
        the ratio, and how many exchanges got lost on the way.
    """
    home = on.folder / "collector"
    home.mkdir(mode=0o700)
    shutil.copytree(on.folder / "holder" / "ledgers", home / "ledgers")
    costs: list[float] = []
    lost = 0
    office = on.office
    with free_ports(2) as ports:
        for number in (FEW, many):
            async with (
                start("collector", on.folder, on.genesis, ports) as agent,
                follow(agent) as collector,
            ):
                load = Load((office, collector))
                if number == FEW:
                    await automate(agent.client)
                    connection, _ = await connect(office.client, agent.client)
                    office = office.connected(connection)
                    issue = credentials(office, collector, on.cred_def_id, VALUES)
                    await load.run(number, AT_ONCE, issue)
                prove = presentations(office, collector, lambda: question(on.cred_def_id))
                await load.run(AT_ONCE, AT_ONCE, prove)  # fills its caches
                spent = await load.run(proofs, AT_ONCE, prove)
                costs.append(spent.cpu_ms_of("collector"))
                lost += load.lost
            if number == FEW:
                await _fill(home, many)
    return costs[1] / costs[0], lost


async def _fill(home: Path, many: int) -> None:
    """Copy one credential of a stopped holder until it has that many."""
    models = {name: protocol.data for name, protocol in load_catalog().protocols.items()}
    key = (home / "store.key").read_text().strip()
    store = await Store.open(Sqlite(home / "agent.db"), key, models)
    writer = asyncio.create_task(store.run())
    await _copy(await store.profile(MAIN), many)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    await store.close()


async def _copy(profile: Profile, many: int) -> None:
    there = await profile.find(CREDENTIAL)
    record = there[0][1]
    of = CredDef(
        id=record["cred_def_id"],
        issuer_id=record["issuer_id"],
        schema_id=record["schema_id"],
        tag="",
        value="",
        seq_no=0,
    )
    copies = (held(f"copy {i}", record["credential"], of) for i in range(many - len(there)))
    await profile.commit(Commit(writes=tuple(copies)))
