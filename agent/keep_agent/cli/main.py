"""The command `indykeep`: run an agent, and look at one.

Nothing is imported before a command needs it: the start is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keep_agent.app import Running
    from keep_agent.settings import Settings

log = logging.getLogger(__name__)

REFUSED = 2
"""Exit code where somebody has to change something before it can work."""

MULTISIG = {
    "quorum": "who can bring what about on a ledger: its rules, and the smallest coalitions",
    "govern": "wanted rules as a file: compare with the ledger, drill, propose",
    "propose": "make a proposal that several people sign",
    "show": "look at a proposal: what it does, whom it needs, who has signed",
    "sign": "review a proposal and sign it",
    "refuse": "say no to a proposal, with a reason",
    "merge": "put together what several people signed",
    "submit": "compare once more, and send a proposal to the ledger",
    "audit": "who signed what an identity wrote, checked from the ledger alone",
    "key": "make, list and show the keys that sign: in a store or a token",
    "group": "a key that several people hold together (FROST): make, split, hand on, drill",
    "recovery": "a store's key as shares on paper: make, drill, restore, replace",
}
"""Commands for control shared by several people, each a module of `keep_agent.cli.multisig` with a `main`."""

_EXAMPLES = """examples:
  indykeep run                              with what INDYKEEP_... variables say
  indykeep run --config agent.toml          the same settings in a file
  INDYKEEP_PORT=0 indykeep run --json       free port; one line of JSON when ready
  indykeep settings                         every setting, its default and its meaning
  indykeep status --key-file indykeep-data/admin.key

  a second agent beside it, that may talk to it:
  INDYKEEP_DATA_DIR=other INDYKEEP_PORT=8030 INDYKEEP_ADMIN_PORT=8031 \\
      INDYKEEP_ALLOW_PRIVATE_EGRESS=true indykeep run

The agent keeps its store and its keys in `indykeep-data` unless INDYKEEP_DATA_DIR says otherwise.
Commands for a running agent go over its admin API, with the key in `admin.key` as X-API-Key:
GET /v1 lists its paths, GET /v1/protocols describes every protocol and its commands.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    command = _for_several(words) if words and words[0] in MULTISIG else _command(words)
    from keep_agent.cli.multisig.output import note, printable  # noqa: PLC0415 - see the module
    from keep_agent.errors import KeepError  # noqa: PLC0415
    from keep_ledger.errors import LedgerError  # noqa: PLC0415

    try:
        return command()
    except (KeepError, LedgerError) as error:
        for line in str(error).splitlines():
            note(f"indykeep: {printable(line)}")
        return REFUSED


def _command(words: list[str]) -> Callable[[], int]:
    args = _parser().parse_args(words)
    return partial(args.do, args)


def _for_several(words: list[str]) -> Callable[[], int]:
    """Return a command of several people; what it needs is imported when it runs."""

    def run() -> int:
        try:
            command = import_module(f"keep_agent.cli.multisig.{words[0]}")
        except ModuleNotFoundError as error:
            if (error.name or "keep_agent").startswith("keep_"):
                raise
            print(  # noqa: T201
                f"indykeep: {words[0]} needs {error.name}: pip install 'indykeep[multisig]'",
                file=sys.stderr,
            )
            return REFUSED
        return int(command.main(words[1:]))

    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="indykeep",
        description="Hyperledger Indy: agent, wallet and ledger plugin.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run an agent until it is told to end")
    run.add_argument(
        "--config", type=Path, metavar="FILE", help="settings in TOML, named as `settings` says"
    )
    run.add_argument("--die-with", metavar="PID", help="end when that process is gone")
    run.add_argument("--json", action="store_true", help="say where it is in a line of JSON")
    run.set_defaults(do=_run)

    settings = commands.add_parser("settings", help="explain every setting")
    settings.set_defaults(do=_settings)

    status = commands.add_parser("status", help="ask a running agent how it does")
    status.add_argument("--url", default="http://127.0.0.1:8021", help="of its admin API")
    status.add_argument(
        "--key-file", type=Path, default=Path("indykeep-data/admin.key"), metavar="FILE"
    )
    status.set_defaults(do=_status)

    for name, what in MULTISIG.items():
        commands.add_parser(name, help=what)
    return parser


class _Version(argparse.Action):
    """As argparse's own `version`, but looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from keep_agent import __version__  # noqa: PLC0415

        print(f"indykeep {__version__}")  # noqa: T201
        parser.exit()


# -- run ---------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> int:
    gc.disable()  # nothing that is imported is garbage: to look for it is a tenth of the start
    from keep_agent import logs  # noqa: PLC0415
    from keep_agent.settings import Settings  # noqa: PLC0415

    given = {"INDYKEEP_DIE_WITH": args.die_with} if args.die_with else {}
    settings = Settings.load({**os.environ, **given}, args.config)
    logs.set_up(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=_loop) as runner:
        code = runner.run(_serve(settings, _say_json if args.json else _say))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # native threads may call back while an interpreter ends, and abort it


def _loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop where that is installed, else asyncio's."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - see the module
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


async def _serve(settings: Settings, say: Callable[[Mapping[str, object]], None]) -> int:
    """Run an agent until a signal; a second signal ends the process at once."""
    from keep_agent.api.app import admin_app  # noqa: PLC0415
    from keep_agent.app import running  # noqa: PLC0415

    gc.freeze()  # nor is it later: a whole collection took 25 ms of the event loop
    gc.enable()
    stop = asyncio.Event()

    def end() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, end)
    try:
        async with running(settings, admin_app) as agent:
            say(_places(settings, agent))
            await stop.wait()
    except ExceptionGroup:  # the agent's own fault: whole into the log, nothing on the terminal
        log.critical("the agent failed", exc_info=True)
        return 1
    return 0


def _places(settings: Settings, agent: Running) -> dict[str, object]:
    from keep_agent.settings import ADMIN_KEY_FILE  # noqa: PLC0415

    file = settings.admin_key_file or settings.data_dir / ADMIN_KEY_FILE
    return {
        "endpoint": agent.endpoint,
        "admin_url": agent.admin_url,
        "port": agent.port,
        "admin_port": agent.admin_port,
        "pid": os.getpid(),
        "admin_key_file": None if settings.admin_key else str(file.absolute()),
    }


def _say_json(places: Mapping[str, object]) -> None:
    print(json.dumps(places), flush=True)  # noqa: T201


def _say(places: Mapping[str, object]) -> None:
    key = places["admin_key_file"] or "as given in the settings"
    print(  # noqa: T201
        f"Peers reach this agent at  {places['endpoint']}\n"
        f"Its admin API is at        {places['admin_url']}\n"
        f"with the key in            {key}\n"
        "Ctrl-C ends it.",
        flush=True,
    )


# -- other commands ----------------------------------------------------------------------------


def _settings(_args: argparse.Namespace) -> int:
    from keep_agent.settings import explained  # noqa: PLC0415

    print(explained())  # noqa: T201
    return 0


def _status(args: argparse.Namespace) -> int:
    from keep_agent.client import Client  # noqa: PLC0415
    from keep_agent.errors import BadCommandError  # noqa: PLC0415

    async def ask() -> object:
        async with Client(args.url, key) as client:
            return await client.status()

    try:
        key = args.key_file.read_text("utf-8").strip()
    except OSError as error:
        raise BadCommandError(f"{args.key_file}: {error.strerror}") from error
    print(json.dumps(asyncio.run(ask()), indent=2))  # noqa: T201
    return 0
