"""The verbs of `von-network/manage`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

import psutil

from keep_network import (
    addresses,
    control,
    faults,
    ledger,
    logs,
    members,
    ports,
    reads,
    record,
    seeds,
    snapshots,
)
from keep_network.arguments import folder_of, name_of, say, verb
from keep_network.control import AS_BEFORE, Wish
from keep_network.dids import short
from keep_network.errors import BadInputError, NetworkError
from keep_network.processes import Identity

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
        return _fail("interrupted; everything that was started has been stopped", 130)
    except BadInputError as error:
        return _fail(str(error), 2)
    except NetworkError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:  # `manage status | head`
        return 1
    except OSError as error:
        return _fail(f"{error.filename or folder_of(args)}: {error.strerror}", 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="von-network/manage", description=__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    about = "start a network; returns when every node takes writes"
    start = verb(verbs, "start", _start, about, "up")
    start.add_argument(
        "words",
        nargs="*",
        metavar="ADDRESS or NAME=VALUE",
        help="as --host; or a variable of the environment",
    )
    start.add_argument("--wait", action="store_true", help="as always: it waits by itself")
    _shape(start)
    _mode(start)
    start.add_argument(
        "--die-with", type=int, metavar="PID", help="stop when the process PID has ended"
    )
    start.add_argument("--json", action="store_true", help="print one JSON object")
    restart = verb(verbs, "restart", _restart, "stop and start; the data stays")
    _mode(restart)
    verb(verbs, "stop", _stop, "stop the nodes; the data stays")
    verb(verbs, "down", _down, "stop the nodes and delete the data", "rm")
    verb(verbs, "build", _build, "nothing: there is no image to build", "rebuild")
    status = verb(verbs, "status", _status, "show which nodes run")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    register = verb(verbs, "register", _register, "write a DID, signed by the local trustee")
    register.add_argument("--did", help="also did:sov: or did:indy:")
    register.add_argument("--verkey")
    register.add_argument("--seed", help="instead of both: up to 32 characters, or base64")
    register.add_argument("--role", default="ENDORSER", help=", ".join(ledger.ROLES))
    register.add_argument("--alias")
    genesis = verb(verbs, "generate-genesis", _genesis, "print the genesis; starts nothing")
    _shape(genesis)
    for more in (reads, logs, faults, members, snapshots):
        more.add_verbs(verbs)
    return parser


def _shape(verb: argparse.ArgumentParser) -> None:
    addresses.add_option(verb)
    verb.add_argument("--nodes", type=_nodes, help="4 (default) or 7")
    verb.add_argument("--port-base", type=_port, help="first port: 9701; or auto")
    verb.add_argument("--web-port", type=_web_port, help="of the web server: 9000; or none")
    verb.add_argument(
        "--seeds",
        choices=("known", "random"),
        help="of a new network's trustee, stewards and nodes: known to everybody (default), or "
        f"random; then the trustee's is in the file {seeds.FILE} of the network's folder",
    )


def _mode(verb: argparse.ArgumentParser) -> None:
    mode = verb.add_mutually_exclusive_group()
    mode.add_argument(
        "--processes",
        dest="separate",
        action="store_const",
        const=True,
        help="one process per node, from now on",
    )
    mode.add_argument(
        "--one-process",
        dest="separate",
        action="store_const",
        const=False,
        help="all nodes in one process, from now on; the default",
    )


def _start(args: argparse.Namespace) -> None:
    for word in args.words:
        name, is_variable, value = word.partition("=")
        if is_variable:
            os.environ[name] = value
        else:
            args.host = word
    die_with = None
    if args.die_with is not None:
        try:
            die_with = Identity.of(args.die_with)
        except psutil.NoSuchProcess:
            raise BadInputError(f"--die-with: there is no process {args.die_with}") from None
    network = control.start(
        folder_of(args),
        name_of(args),
        _wish(args, separate=args.separate, die_with=die_with),
        say,
    )
    told = control.describe(network)
    print(json.dumps(told) if args.json else _places(told))


def _restart(args: argparse.Namespace) -> None:
    control.find(folder_of(args))
    control.restart(folder_of(args), replace(AS_BEFORE, separate=args.separate), say)


def _stop(args: argparse.Namespace) -> None:
    control.find(folder_of(args))
    say(f"ended {len(control.stop(folder_of(args)))} process(es)")


def _down(args: argparse.Namespace) -> None:
    control.find(folder_of(args))
    control.down(folder_of(args))
    say(f"{folder_of(args)} is gone")


def _status(args: argparse.Namespace) -> None:
    network = control.find(folder_of(args))
    told = control.describe(network)
    if args.json:
        print(json.dumps(told))
        return
    for name, (_, port) in told["ports"].items():
        print(f"{name}: {_state(told, name, network.host(int(name[4:])), port)}")
    for one in told["restarts"]:
        at = time.strftime("%H:%M:%S", time.localtime(one["at"]))
        were = "was" if len(one["nodes"]) == 1 else "were"
        print(f"{', '.join(one['nodes'])} died and {were} restarted at {at}: {one['why']}")
    if told["cut"]:
        print("cut: " + " | ".join(",".join(side) for side in told["cut"]))
    print(_places(told))


def _state(told: dict[str, Any], name: str, host: str, port: int) -> str:
    if name not in told["pids"]:
        return "not running"
    if name in told["frozen"]:
        return f"process {told['pids'][name]}, frozen"
    listening = "listens" if ports.answers(port, host) else "does not listen"
    return f"process {told['pids'][name]}, {listening} on {host}:{port}"


def _register(args: argparse.Namespace) -> None:
    did, verkey = _who(args)
    ledger.check(did, verkey, args.role, args.alias)
    network = control.find(folder_of(args))
    if not control.describe(network)["pids"]:
        raise NetworkError(f"{network.name} does not run; start it first")
    done = ledger.register(network, did, verkey, args.role, args.alias)
    print(json.dumps(asyncio.run(done)))


def _who(args: argparse.Namespace) -> tuple[str, str]:
    """Return the DID and the verkey that are to be registered."""
    if args.seed is not None and not (args.did or args.verkey):
        return ledger.did_of(seeds.read(args.seed)[0])
    if args.seed is None and args.did is not None and args.verkey is not None:
        return short(args.did), args.verkey
    raise BadInputError("give --did and --verkey, or --seed alone")


def _build(_args: argparse.Namespace) -> None:
    say("there is nothing to build: the nodes run without Docker; start makes what they need")


def _genesis(args: argparse.Namespace) -> None:
    network = control.make_genesis(folder_of(args), name_of(args), _wish(args), say)
    print(network.genesis.read_text(), end="")


def _wish(
    args: argparse.Namespace,
    *,
    separate: bool | None = None,
    die_with: Identity | None = None,
) -> Wish:
    auto = args.port_base == "auto"
    first = None if auto else args.port_base
    own_seeds = args.seeds == "random" if args.seeds else None
    new = not record.made(folder_of(args))
    place = addresses.wanted(args.host, os.environ, new=new)
    web_port = _classic_web_port() if new and args.web_port is None else args.web_port
    return Wish(args.nodes, first, auto, separate, die_with, web_port, own_seeds, place)


def _classic_web_port() -> int | None:
    told = os.environ.get("WEB_SERVER_HOST_PORT")
    try:
        return _web_port(told) if told else None
    except argparse.ArgumentTypeError as error:
        raise BadInputError(f"WEB_SERVER_HOST_PORT: {error}") from None


def _places(told: dict[str, Any]) -> str:
    web = f"web: {told['web']}\n" if told["web"] else ""
    seed = f"the trustee's seed: {told['trustee_seed']}\n" if told["trustee_seed"] else ""
    return f"{web}{seed}genesis: {told['genesis']}"


def _web_port(text: str) -> int:
    if text == "none":
        return 0
    if not text.isdecimal() or int(text) not in _PORTS:
        raise argparse.ArgumentTypeError(
            f"a web port is {_PORTS.start} to {_PORTS.stop}, or none"
        )
    return int(text)


def _nodes(text: str) -> int:
    if text == "1":
        raise argparse.ArgumentTypeError(
            "a single node never finishes its catch-up, because it waits for the ledger status of "
            "another node; the minimum is 4"
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


def _fail(text: str, status: int) -> int:
    say(f"manage: {text}")
    return status


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
