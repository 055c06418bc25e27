"""The verbs of `von-network/manage`."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from keep_network import control, ledger, ports
from keep_network.control import Wish
from keep_network.errors import BadInputError, NetworkError
from keep_network.processes import Identity

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_SIZES = (4, 7)
_PORTS = range(1024, 65520)


def main() -> int:
    """Run one verb; return 0, 1 (it did not work) or 2 (it makes no sense)."""
    signal.signal(signal.SIGTERM, _terminated)
    args = _parser().parse_args()
    try:
        args.verb(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail("interrupted; everything that was started is ended", 130)
    except BadInputError as error:
        return _fail(str(error), 2)
    except NetworkError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # `manage status | head`
        return 1
    except OSError as error:
        return _fail(f"{error.filename or _folder(args)}: {error.strerror}", 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="von-network/manage", description=__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    start = _verb(verbs, "start", _start, "start a network; returns when it has taken a write")
    _shape(start)
    start.add_argument("--processes", action="store_true", help="one process per node")
    start.add_argument("--die-with", type=int, metavar="PID", help="end when PID is gone")
    start.add_argument("--json", action="store_true", help="print one JSON object")
    _verb(verbs, "stop", _stop, "end the nodes; the data stays")
    _verb(verbs, "down", _down, "end the nodes and delete the data")
    status = _verb(verbs, "status", _status, "say which nodes run")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    register = _verb(verbs, "register", _register, "write a DID, signed by the local trustee")
    register.add_argument("--did", required=True)
    register.add_argument("--verkey", required=True)
    register.add_argument("--role", default="ENDORSER", help=", ".join(ledger.ROLES))
    register.add_argument("--alias")
    genesis = _verb(verbs, "generate-genesis", _genesis, "print the genesis; starts nothing")
    _shape(genesis)
    return parser


def _verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], None], about: str
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
    verb.set_defaults(verb=run)
    verb.add_argument("--name", type=_name, default=None, help="of the network: local")
    verb.add_argument("--dir", type=Path, help="where its data is: .indykeep/networks/NAME")
    return verb


def _shape(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--nodes", type=_nodes, help="4 (default) or 7")
    verb.add_argument("--port-base", type=_port, help="first port: 9701; or auto")


def _start(args: argparse.Namespace) -> None:
    die_with = None
    if args.die_with is not None:
        try:
            die_with = Identity.of(args.die_with)
        except psutil.NoSuchProcess:
            raise BadInputError(f"--die-with: there is no process {args.die_with}") from None
    network = control.start(
        _folder(args),
        _name_of(args),
        _wish(args, separate=args.processes, die_with=die_with),
        _say,
    )
    told = control.describe(network)
    print(json.dumps(told) if args.json else f"genesis: {network.genesis}")


def _stop(args: argparse.Namespace) -> None:
    control.find(_folder(args))
    _say(f"ended {len(control.stop(_folder(args)))} process(es)")


def _down(args: argparse.Namespace) -> None:
    control.find(_folder(args))
    control.down(_folder(args))
    _say(f"{_folder(args)} is gone")


def _status(args: argparse.Namespace) -> None:
    told = control.describe(control.find(_folder(args)))
    if args.json:
        print(json.dumps(told))
        return
    for name, (_, port) in told["ports"].items():
        pid = told["pids"].get(name)
        listening = "listens" if ports.answers(port) else "does not listen"
        print(f"{name}: " + (f"process {pid}, {listening} on {port}" if pid else "not running"))
    print(f"genesis: {told['genesis']}")


def _register(args: argparse.Namespace) -> None:
    ledger.check(args.did, args.verkey, args.role, args.alias)
    network = control.find(_folder(args))
    if not control.describe(network)["pids"]:
        raise NetworkError(f"{network.name} does not run; start it first")
    done = ledger.register(network, args.did, args.verkey, args.role, args.alias)
    print(json.dumps(asyncio.run(done)))


def _genesis(args: argparse.Namespace) -> None:
    network = control.make_genesis(_folder(args), _name_of(args), _wish(args), _say)
    print(network.genesis.read_text(), end="")


def _wish(
    args: argparse.Namespace,
    *,
    separate: bool = False,
    die_with: Identity | None = None,
) -> Wish:
    auto = args.port_base == "auto"
    first = None if auto else args.port_base
    return Wish(args.nodes, first, auto=auto, separate=separate, die_with=die_with)


def _name_of(args: argparse.Namespace) -> str:
    return args.name or (args.dir.resolve().name if args.dir else "local")


def _folder(args: argparse.Namespace) -> Path:
    return args.dir.resolve() if args.dir else control.NETWORKS / _name_of(args)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a name is 1 to 40 of a-z, 0-9, _ and -")
    return text


def _nodes(text: str) -> int:
    if text == "1":
        raise argparse.ArgumentTypeError(
            "one node never leaves catch-up, as it waits for another node's ledger status; "
            "4 is the smallest network"
        )
    if text not in map(str, _SIZES):
        raise argparse.ArgumentTypeError("a network has 4 or 7 nodes")
    return int(text)


def _port(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) not in _PORTS:
        raise argparse.ArgumentTypeError(f"a port is {_PORTS.start} to {_PORTS.stop}, or auto")
    return int(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fail(text: str, status: int) -> int:
    _say(f"manage: {text}")
    return status


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
