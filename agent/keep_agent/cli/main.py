"""The command `indykeep`.

Modules are imported only when a command needs them, so that it starts fast; the benchmark measures that.
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
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from keep_agent.cli import public_did

if TYPE_CHECKING:
    from keep_agent.app import Running
    from keep_agent.client import Client
    from keep_agent.settings import Settings

log = logging.getLogger(__name__)

REFUSED = 2
"""Exit code of a command that was refused: something must be changed before it can work."""

MULTISIG = {
    "quorum": "who can do what on a ledger: its rules, and the smallest coalitions",
    "govern": "wanted quorums as a file: compare with the ledger, drill, propose",
    "propose": "make a proposal for several people to sign",
    "show": "show a proposal: what it does, which rules apply, who has signed",
    "sign": "review a proposal and sign it",
    "refuse": "refuse a proposal with a reason, comment on it, or cancel it",
    "merge": "merge copies of a proposal that several people signed",
    "submit": "compare a proposal with the ledger again, and send it",
    "audit": "check from the ledger who signed what an identity wrote",
    "key": "make, import, list and show signing keys in a store or a token",
    "group": "a key that several people share (FROST): make, split, reshare, drill",
    "recovery": "a store's key as shares on paper: make, drill, restore, replace",
}
"""Commands for control shared by several people, each a module of `keep_agent.cli.multisig` with a `main`."""

_EXAMPLES = """examples:
  indykeep run                              with the settings in INDYKEEP_... variables
  indykeep run --config agent.toml          the same settings in a file
  INDYKEEP_PORT=0 indykeep run --json       a free port; prints a line of JSON when ready
  indykeep settings                         every setting, its default and its meaning
  indykeep status                           of the agent that runs here (--url, --key-file: another)
  indykeep public-did --set DID             peers that know this DID of the agent find it by the ledger

  a second agent on the same machine, which can connect to the first:
  INDYKEEP_DATA_DIR=other INDYKEEP_PORT=8030 INDYKEEP_ADMIN_PORT=8031 \\
      INDYKEEP_ALLOW_PRIVATE_EGRESS=true indykeep run

The agent stores its data and keys in `indykeep-data`, or in INDYKEEP_DATA_DIR. A running agent is used
through its admin API, with the key in `admin.key` as X-API-Key: GET /v1 lists its paths, GET /v1/protocols
describes every protocol and its commands.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    command = _multisig_command(words) if words and words[0] in MULTISIG else _command(words)
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


def _multisig_command(words: list[str]) -> Callable[[], int]:
    """Return a command for several people; its module is imported when it runs."""

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

    run = commands.add_parser("run", help="run an agent until it is stopped")
    run.add_argument(
        "--config", type=Path, metavar="FILE", help="settings in TOML, named as `settings` says"
    )
    run.add_argument("--die-with", metavar="PID", help="end when this process has ended")
    run.add_argument(
        "--json", action="store_true", help="print ports and paths as a line of JSON"
    )
    run.set_defaults(do=_run)

    settings = commands.add_parser("settings", help="explain every setting")
    settings.set_defaults(do=_settings)

    status = commands.add_parser("status", help="show the status of a running agent")
    _add_agent(status)
    status.set_defaults(do=_status)

    public = commands.add_parser(
        "public-did", help="show, set or withdraw the public DID of a running agent on a ledger"
    )
    _add_agent(public)
    public_did.add(public)
    public.set_defaults(do=_public_did)

    for name, what in MULTISIG.items():
        commands.add_parser(name, help=what)
    return parser


def _add_agent(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a running agent."""
    parser.add_argument(
        "--url", default="http://127.0.0.1:8021", help="of its admin API (%(default)s)"
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        default=Path("indykeep-data/admin.key"),
        metavar="FILE",
        help="of its admin key (indykeep-data/admin.key)",
    )


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
    os._exit(
        code
    )  # native threads may call back while the interpreter ends, which would abort it


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
    except ExceptionGroup:  # a bug of the agent: to the log, with traceback
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
    return _ask(args, lambda client: client.status())


def _public_did(args: argparse.Namespace) -> int:
    return _ask(args, lambda client: public_did.run(client, args))


def _ask(args: argparse.Namespace, question: Callable[[Client], Awaitable[object]]) -> int:
    """Ask a running agent, and print its answer."""
    from keep_agent.client import Client  # noqa: PLC0415
    from keep_agent.errors import BadCommandError  # noqa: PLC0415

    async def ask() -> object:
        async with Client(args.url, key) as client:
            return await question(client)

    try:
        key = args.key_file.read_text("utf-8").strip()
    except OSError as error:
        raise BadCommandError(f"{args.key_file}: {error.strerror}") from error
    print(json.dumps(asyncio.run(ask()), indent=2))  # noqa: T201
    return 0
