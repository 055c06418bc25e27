"""`./manage demo`: Alice proves that she is over 18, on a real local Indy network."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path

from demo_claims import claim
from demo_over_18_steps import Demo, run_steps
from demo_run import run_demo, wait_for_ctrl_c
from demo_terminal import Terminal
from keep_agent.errors import KeepError
from network_and_agents import Agent, agent, check_running, genesis_of, network, watch_running
from processes import StartError, free_ports
from usage import reader

SETTLE_S = 0.3
AGENTS = {"office": "Licence office", "alice": "Alice", "bar": "Bar", "tim": "Tim"}
NEXT_STEPS = """
All of it is running. Ctrl-C here ends it and removes its data.

  network      {genesis}
               read it with any Indy client; more DIDs: von-network/manage register --dir {network} ...
{agents}

Try, in another terminal:
  KEY=$(cat {key})
  curl -s -H "X-API-Key: $KEY" {admin}/v1/credentials
  curl -s -H "X-API-Key: $KEY" {admin}/v1/present-proof
  curl -s -H "X-API-Key: $KEY" {admin}/v1/protocols/present-proof
"""


def main() -> int:
    """Read the command line and run the demo."""
    return run_demo(over_18, keep=reader("demo").parse_args().keep)


async def over_18(terminal: Terminal, folder: Path, keep: bool) -> None:  # noqa: FBT001 - as `Demo`
    """Start network and agents, run all steps, and end everything."""
    begun = time.monotonic()
    terminal.plain('"Over 18", proved on a real Indy network')
    async with AsyncExitStack() as ground, AsyncExitStack() as stack:
        demo = await start(ground, stack, terminal, folder)
        agents = (demo.office, demo.alice, demo.bar, demo.tim)
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(watch_running(demo.network, agents))
            try:
                await run_steps(demo)
            except (KeepError, StartError, OSError):  # perhaps because a process has ended
                await asyncio.sleep(SETTLE_S)
                await check_running(demo.network, agents)
                raise
            if keep:
                terminal.plain(next_steps(demo))
                await wait_for_ctrl_c()
            watcher.cancel()
        terminal.heading("The end")
        async with terminal.step("processes are ended, data is removed"):
            await stack.aclose()
            await ground.aclose()
            shutil.rmtree(folder, ignore_errors=True)
        claim(not any(one.child.alive for one in agents), "every agent has ended")
    terminal.say(f"All claims were checked. It took {time.monotonic() - begun:.0f} s.")


async def start(
    ground: AsyncExitStack, stack: AsyncExitStack, terminal: Terminal, folder: Path
) -> Demo:
    """Start the network (ended with `ground`) and the agents (ended with `stack`) side by side."""
    ports = ground.enter_context(free_ports(2 * len(AGENTS)))
    where = folder / "network"
    async with asyncio.TaskGroup() as tasks:

        async def begin(title: str, name: str, ports: Sequence[int]) -> Agent:
            genesis = await genesis_of(where)
            one = agent(title, folder / name, genesis=genesis, ports=ports, settings={})
            return await stack.enter_async_context(one)

        net = tasks.create_task(ground.enter_async_context(network(where)))
        starting = [
            tasks.create_task(begin(title, name, ports[2 * i : 2 * i + 2]))
            for i, (name, title) in enumerate(AGENTS.items())
        ]
        terminal.heading("1. A network and four agents")
        async with terminal.step("4 Indy validator nodes start and agree on a first write"):
            await net
        text = "the office, Alice, the bar and Tim start: a process and an encrypted store each"
        async with terminal.step(text):
            office, alice, bar, tim = await asyncio.gather(*starting)
    for one in (office, alice, bar, tim):  # at the end all get the signal, then each is awaited
        stack.callback(one.child.signal, signal.SIGTERM)
    return Demo(terminal, net.result(), office, alice, bar, tim, date.today())  # noqa: DTZ011 - here


def next_steps(demo: Demo) -> str:
    """Return where everything is, and what to try."""
    agents = "\n".join(
        f"  {one.title:<16} {one.endpoint}\n{'':19}admin {one.admin}, key in {one.admin_key}"
        for one in (demo.office, demo.alice, demo.bar, demo.tim)
    )
    return NEXT_STEPS.format(
        genesis=demo.network.genesis,
        network=demo.network.folder,
        agents=agents,
        key=demo.alice.admin_key,
        admin=demo.alice.admin,
    )
