"""What all verbs have in common: which network, whose node, and how to speak to the user."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keep_network import control

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_NODE = re.compile(r"(?:[Nn]ode)?([1-9]\d{0,2})")

Verbs = Any
"""argparse's sub-parsers; their type has no public name."""


def verb(
    verbs: Verbs,
    name: str,
    run: Callable[[argparse.Namespace], None],
    about: str,
    *aliases: str,
) -> argparse.ArgumentParser:
    """Add a verb that works on one network; aliases are the classic network's words for it."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=about, description=about, aliases=aliases
    )
    parser.set_defaults(verb=run)
    parser.add_argument("--name", type=network_name, default=None, help="of the network: local")
    parser.add_argument("--dir", type=Path, help="where its data is: .indykeep/networks/NAME")
    return parser


def network_name(text: str) -> str:
    """Read the name of a network or a snapshot."""
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a name is 1 to 40 of a-z, 0-9, _ and -")
    return text


def node(text: str) -> int:
    """Read `Node4`, `node4` or `4`."""
    told = _NODE.fullmatch(text)
    if not told:
        raise argparse.ArgumentTypeError(f"a node is Node1, Node2 and so on, not {text}")
    return int(told[1])


def nodes(text: str) -> list[int]:
    """Read nodes with commas between them."""
    return [node(one) for one in text.split(",")]


def name_of(args: argparse.Namespace) -> str:
    """Return the name of the network that is meant."""
    return str(args.name or (args.dir.resolve().name if args.dir else "local"))


def folder_of(args: argparse.Namespace) -> Path:
    """Return where the network that is meant has its data."""
    return Path(args.dir.resolve() if args.dir else control.NETWORKS / name_of(args))


def say(text: str) -> None:
    """Tell the user something; stdout is for results."""
    print(text, file=sys.stderr, flush=True)
