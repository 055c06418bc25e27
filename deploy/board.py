"""`./manage demo multisig`: five trustees control a real local Indy network, three at a time."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from attacks import attack
from council import Council, audit, make_keys, recover, take_seats, travel
from demo import SETTLE_S, explain, room, told_to_end
from desk import NAMES, Desk
from keep_agent.errors import KeepError
from keep_ledger.errors import LedgerError
from keep_ledger.indy.network_client import NetworkClient
from processes import StartError, run
from screen import Screen, stdout
from stage import ROOT, look, network, watch
from story import ClaimError
from usage import reader

KEPT = """
The network runs on. Ctrl-C here ends it and removes its data.

Go on in another terminal, as anybody of them:
  cd {folder}
  . ./{names}                      # what $ANA, $BOARD and so on stand for
  export PATH={bin}:$PATH
  export INDYKEEP_KEY_FILE=ana.key      # you are Ana; ben.key, cas.key, dee.key open the others' stores
  indykeep show endorser.psit
  indykeep propose nym --did $MALLORY --verkey $MALLORY_KEY --role ENDORSER --author $ANA $BOARD --out p.psit
  indykeep sign p.psit --with "$ANA_WITH"
  INDYKEEP_KEY_FILE=dee.key indykeep sign p.psit --with "$DEE_WITH"
  indykeep sign p.psit --with "$ELI_WITH"      # then "$EVA_WITH", and both once more
  indykeep submit p.psit
  indykeep audit $ANA --cache cache
"""
FAILURES = (
    StartError,
    ClaimError,
    KeepError,
    LedgerError,
    OSError,
    subprocess.CalledProcessError,
    ExceptionGroup,
)


def main(words: list[str]) -> int:
    """Read the command line and play."""
    keep: bool = reader("demo multisig").parse_args(words).keep
    try:
        return run(board(stdout(), keep=keep))
    except BrokenPipeError:  # ./manage demo multisig | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def board(screen: Screen, *, keep: bool) -> int:
    """Play, clean up, and return the exit code."""
    with room() as folder:
        try:
            await play(screen, folder, keep=keep)
        except asyncio.CancelledError:
            screen.say("Stopped; everything that was started is ended.")
            raise
        except FAILURES as error:
            explain(screen, folder, error)
            return 1
        finally:
            os.chdir(ROOT)
    return 0


async def play(screen: Screen, folder: Path, *, keep: bool) -> None:
    """Start the network, tell the story, and end everything."""
    begun = time.monotonic()
    screen.plain("Five trustees, three of whom must agree, on a real Indy network")
    async with AsyncExitStack() as ground:
        screen.act("1. A network, and a folder for files that travel")
        async with screen.doing("4 Indy validator nodes start and agree on a first write"):
            net = await ground.enter_async_context(network(folder / "network"))
        desk = Desk(screen, folder / "desk", net.genesis)
        desk.folder.mkdir(0o700)
        os.chdir(desk.folder)
        client = await ground.enter_async_context(NetworkClient(str(net.genesis), _no_url))
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(watch(net, ()))
            try:
                await tell(Council(desk, client))
            except (KeepError, LedgerError, ClaimError):  # perhaps because a node is gone
                await asyncio.sleep(SETTLE_S)
                await look(net, ())
                raise
            screen.act("8. What happened")
            screen.rows(desk.rows)
            if keep:
                desk.write_names()
                screen.plain(kept(desk))
                await told_to_end()
            watcher.cancel()
        screen.act("The end")
        async with screen.doing("processes are ended, data is removed"):
            await ground.aclose()
            os.chdir(ROOT)
            shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - begun
    screen.say(f"All of it was checked. {desk.typed} commands were run; it took {took:.0f} s.")


async def tell(council: Council) -> None:
    """Tell it all."""
    for act in (make_keys, take_seats, travel, attack, recover, audit):
        await act(council)


def kept(desk: Desk) -> str:
    """Return how to go on."""
    return KEPT.format(folder=desk.folder, names=NAMES, bin=Path(sys.executable).parent)


async def _no_url(url: str) -> bytes:
    raise OSError(f"the genesis is a file here, not {url}")
