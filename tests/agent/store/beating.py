"""A process that beats on a store, for the tests: prints what happens, ends when its input does."""

import asyncio
import json
import sys
from pathlib import Path

from aries_askar import Store as Askar

from keep_agent.store.location import parse
from keep_agent.store.migrations import check_version
from keep_agent.store.processes import Processes
from keep_agent.store.provision import exclusively, open_or_provision


class Opened:
    def __init__(self, askar: Askar) -> None:
        self.askar = askar


def say(what: str, *names: str) -> None:
    print(json.dumps([what, *names]), flush=True)  # noqa: T201 - its parent reads it


async def main(url: str, key: str, folder: str, beat_s: float, silent_s: float) -> None:
    location = parse(url)
    async with exclusively(location):
        askar = await open_or_provision(location, key)
    processes = Processes(
        Opened(askar),
        Path(folder),
        shared=True,
        on_taken_over=lambda names: say("adopted", *names),
        on_lost=lambda: say("lost", processes.name),
        check_version=lambda: check_version(askar),
        beat_s=beat_s,
        silent_s=silent_s,
    )
    name = await processes.start()
    say("started", name, *sorted(processes.names - {name}))
    run = asyncio.create_task(processes.run())
    while command := (await asyncio.to_thread(sys.stdin.readline)).split():
        match command:
            case ["settle", *names]:
                await processes.forget(names)
                say("settled", *sorted(processes.names))
            case ["sure"]:
                say("sure", str(processes.may_write))
            case _:
                break
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await processes.end()
    await askar.close()
    say("ended")


if __name__ == "__main__":
    url, key, folder, beat_s, silent_s = sys.argv[1:]
    asyncio.run(main(url, key, folder, float(beat_s), float(silent_s)))
