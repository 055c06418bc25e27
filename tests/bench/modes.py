"""Two modes of `verify` side by side: another verifier for the same holder, which asks everybody."""

from __future__ import annotations

import shutil
from statistics import median

from bench.load import Load, Spent, presentations
from bench.raw import question
from bench.scene import Scene, follow, start
from two_agents import automate, connect

from processes import free_ports

AT_ONCE = 8
ORDER = ("office", "checker", "checker", "office")


async def both_by_office(on: Scene, items: int) -> tuple[dict[str, float], int]:
    """Return what a presentation costs in mode `both` by what it costs in the office's mode, in turns.

    Args:
        items: of each turn; each has two.

    Returns:
        CPU of verifier and holder, and how many exchanges got lost on the way.
    """
    home = on.folder / "checker"
    home.mkdir(mode=0o700)
    shutil.copytree(on.folder / "office" / "ledgers", home / "ledgers")
    with free_ports(2) as ports:
        async with (
            start("checker", on.folder, on.genesis, ports, verify="both") as agent,
            follow(agent) as checker,
        ):
            await automate(agent.client)
            to_holder, _ = await connect(agent.client, on.holder.client)
            verifiers = {"office": on.office, "checker": checker.connected(to_holder)}
            loads = {name: Load((each, on.holder)) for name, each in verifiers.items()}
            spent: dict[str, list[Spent]] = {"office": [], "checker": []}
            for turn, name in enumerate((*ORDER[:2], *ORDER)):
                prove = presentations(
                    verifiers[name], on.holder, lambda: question(on.cred_def_id)
                )
                done = await loads[name].run(items, AT_ONCE, prove)
                if turn >= len(loads):  # the first turn of each counts for nothing
                    spent[name].append(done)
    both, one = (median(x.cpu_ms for x in spent[name]) for name in ("checker", "office"))
    lost = sum(load.lost for load in loads.values())
    return {"presentation_both_cpu_ms": both, "presentation_both_by_mode": both / one}, lost
