"""`./manage demo multisig`: five trustees control a real local Indy network, three at a time."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from demo_claims import ClaimError
from demo_commands import NAMES_FILE, Commands
from demo_multisig_attacks import attack
from demo_multisig_steps import (
    Trustees,
    approve_an_endorser,
    audit,
    make_keys,
    register_trustees,
    replace_a_stolen_key,
)
from demo_run import run_demo, wait_for_ctrl_c
from demo_terminal import Terminal
from keep_agent.errors import KeepError
from keep_ledger.errors import LedgerError
from keep_ledger.indy.network_client import NetworkClient
from network_and_agents import ROOT, check_running, network, watch_running
from usage import reader

SETTLE_S = 0.3
NEXT_STEPS = """
The network runs on. Ctrl-C here ends it and removes its data.

Go on in another terminal, as any of the trustees:
  cd {folder}
  . ./{names}                      # sets $ANA, $COSIGNERS and so on
  export PATH={bin}:$PATH
  export INDYKEEP_KEY_FILE=ana.key      # you are Ana; ben.key, cas.key, dee.key open the others' stores
  indykeep show endorser.psit
  indykeep propose nym --did $MALLORY --verkey $MALLORY_KEY --role ENDORSER --author $ANA $COSIGNERS --out p.psit
  indykeep sign p.psit --with "$ANA_WITH"
  INDYKEEP_KEY_FILE=dee.key indykeep sign p.psit --with "$DEE_WITH"
  indykeep sign p.psit --with "$ELI_WITH"      # then "$EVA_WITH", and both once more
  indykeep submit p.psit
  indykeep audit $ANA --cache cache
"""


def main(words: list[str]) -> int:
    """Read the command line and run the demo."""
    return run_demo(multisig, keep=reader("demo multisig").parse_args(words).keep)


async def multisig(terminal: Terminal, folder: Path, keep: bool) -> None:  # noqa: FBT001 - as `Demo`
    """Start the network, run all steps, and end everything."""
    try:
        await _multisig(terminal, folder, keep=keep)
    finally:
        os.chdir(ROOT)


async def _multisig(terminal: Terminal, folder: Path, *, keep: bool) -> None:
    begun = time.monotonic()
    terminal.plain("Five trustees, three of whom must agree, on a real Indy network")
    async with AsyncExitStack() as ground:
        terminal.heading("1. A network, and a folder for the files that people exchange")
        async with terminal.step("4 Indy validator nodes start and agree on a first write"):
            net = await ground.enter_async_context(network(folder / "network"))
        commands = Commands(terminal, folder / "shared", net.genesis)
        commands.folder.mkdir(0o700)
        os.chdir(commands.folder)
        client = await ground.enter_async_context(NetworkClient(str(net.genesis), _no_url))
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(watch_running(net, ()))
            try:
                await run_steps(Trustees(commands, client))
            except (KeepError, LedgerError, ClaimError):  # perhaps because a node has ended
                await asyncio.sleep(SETTLE_S)
                await check_running(net, ())
                raise
            terminal.heading("8. What happened")
            terminal.table(commands.results)
            if keep:
                commands.write_names()
                terminal.plain(next_steps(commands))
                await wait_for_ctrl_c()
            watcher.cancel()
        terminal.heading("The end")
        async with terminal.step("processes are ended, data is removed"):
            await ground.aclose()
            os.chdir(ROOT)
            shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - begun
    terminal.say(
        f"All of it was checked. {commands.count} commands were run; it took {took:.0f} s."
    )


async def run_steps(trustees: Trustees) -> None:
    """Run all steps in order."""
    for step in (
        make_keys,
        register_trustees,
        approve_an_endorser,
        attack,
        replace_a_stolen_key,
        audit,
    ):
        await step(trustees)


def next_steps(commands: Commands) -> str:
    """Return how to go on by hand."""
    return NEXT_STEPS.format(
        folder=commands.folder, names=NAMES_FILE, bin=Path(sys.executable).parent
    )


async def _no_url(url: str) -> bytes:
    raise OSError(f"the genesis is a file here, not {url}")
