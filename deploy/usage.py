"""The command lines of `./manage VERB`, and their help, which needs nothing set up."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

TEXTS = {
    "demo": """\
Starts a real Indy network of four validators and four agents (a licence office, Alice, a bar,
Tim), each a process with its own encrypted store, and tells how Alice proves that she is over
18 without showing her birthday. All of it is on this machine; ports are free ones, data is in
.indykeep/demo-... and is removed at the end. Exit code 0: everything that was said was checked
and is true.

`./manage demo multisig` tells another story: five trustees, three of whom must agree.""",
    "demo multisig": """\
Starts a real Indy network of four validators. Ana, Ben, Cas, Dee and Eli make keys (encrypted stores, a
token where SoftHSM2 is installed, a group of which two of three sign), put 3 of 5 in force, and
approve a new endorser by files and a QR code; then attacks are tried and fail, and a stolen key is
replaced by the others. Every line shown is a real command, run as shown. All of it is on this
machine; data is in .indykeep/demo-... and is removed at the end. Exit code 0: everything that was
said was checked and is true.""",
    "test": """\
Runs the tests, in two processes, or those that are named, in one. Arguments are pytest's:

  ./manage test tests/ledger                          one folder
  ./manage test tests/agent/test_pair.py -k reuse     some tests of one file
  ./manage test -m "not pool"                         without those that start a network

tests/README.md explains the tests; .indykeep/test-venv/bin/pytest --help lists pytest's arguments.""",
    "check": """\
Checks the format, runs the linter, both type checkers and the import rules, all of them even after
a failure, and prints the number of lines of each folder. It changes nothing.""",
    "bench": """\
Measures agents on this machine: credentials and presentations beside what the libraries alone take, messages,
connections, what each of them writes, a verifier alone, the tables of 500 keys, credential requests, starts,
an agent with 100,000 finished exchanges, one with 200 tenants, and PostgreSQL beside SQLite where the machine
has it.

On a machine that others use too, one run tells little: --against runs messages and connections of this
checkout and of an older one in turns, and compares the medians.""",
    "bench-network": "Measures a local Indy network on this machine: its start, writes and reads.",
    "campaign": """\
Kills an issuer and a holder again and again while they work, each at points that the seed draws, and
looks whether anything is lost or done twice. docs/campaigns.md tells what is checked and found.

`./manage campaign network` breaks a network instead, `./manage campaign node-suites` runs the node
packages' own tests, `./manage campaign peers` talks with an agent that is not ours, `./manage campaign
requests` asks for thousands of credentials, and `./manage campaign proofs` verifies proofs by our own
equations and by the library.""",
    "campaign network": """\
Breaks a local network in all ways, for minutes: the long form of tests/von_network. Arguments are
pytest's.""",
    "campaign proofs": """\
Verifies honest presentations of every shape, and changed and forged ones, by the library and by our own
equations, and looks whether they ever differ. A case takes 0.13 s of CPU. Ctrl-C ends it; the same seed
with the same or a greater count goes on where it was, also on another day. docs/campaigns.md tells what is found.""",
    "campaign peers": """\
Sets ACA-Py up in an environment of its own (55 MB to download, 300 MB of disk, Python 3.13 or later: in
PATH, in ~/.pyenv/versions, or named by INDYKEEP_PYTHON), and runs tests/interop: connections, credentials
and proofs in both directions, on a real local network. Arguments are pytest's. With --set-up alone it
only sets ACA-Py up: from then on `./manage test` runs these tests too. docs/interop.md tells what is found.""",
    "campaign requests": """\
Asks for credentials with requests of our own: the library issues each and processes it. Then it looks
whether the numbers of the requests are as random as the library's. 10,000 take a quarter of an hour.""",
    "campaign node-suites": """\
Runs the unit tests that the node packages bring, on our stand-ins for some of their libraries.""",
    "network": """\
Runs a local Indy network: start, stop, status, register, faults and more. The verbs are those of
von-network/manage and stand in von-network/README.md; once the nodes are set up (the first
`./manage network start` does that), --help lists them, and after a verb explains it.""",
    "fetch": """\
Downloads every package that any verb needs, into .indykeep/wheels. Copied to the same place on a
machine of the same kind without network, --offline sets everything up from there.""",
    "clean": """\
Removes all that was set up or recorded in .indykeep, except the downloaded packages. It refuses while
a network runs there.""",
}
"""What a verb does, by the verb and, where it has one, the word after it."""


BENCH = (
    *("credentials", "presentations", "messages", "connections"),
    *("verifier", "requests", "starts", "lists", "tenants", "postgres"),
)
"""What `./manage bench` measures, by groups."""


def reader(command: str) -> argparse.ArgumentParser:
    """Return what reads a command of TEXTS and prints its help."""
    made = argparse.ArgumentParser(
        f"./manage {command}",
        description=TEXTS[command],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    match command:
        case "demo" | "demo multisig":
            about = "keep it all running, until Ctrl-C, and say where"
            made.add_argument("--keep", action="store_true", help=about)
        case "bench":
            _add_json(made)
            about = "a short form that measures little"
            made.add_argument("--quick", action="store_true", help=about)
            about = f"of: {', '.join(BENCH)}"
            made.add_argument(
                "--only", type=_groups, default=BENCH, metavar="NAME[,NAME]", help=about
            )
            about = "who verifies proofs: sampled (the default), both or library"
            modes = ("sampled", "both", "library")
            made.add_argument("--verify", choices=modes, default=modes[0], help=about)
            about = (
                "an older one, where ./manage check has run: messages and connections in turns"
            )
            made.add_argument("--against", type=Path, metavar="CHECKOUT", help=about)
        case "bench-network":
            _add_json(made)
            made.add_argument(
                "--writes", type=int, default=0, metavar="N", help="N more: 20000"
            )
        case "campaign":
            made.add_argument("--kills", type=int, default=300, metavar="N", help="300")
            made.add_argument("--seed", type=int, metavar="N", help="of an earlier campaign")
            about = "on a real network, whose nodes are killed too"
            made.add_argument("--pool", action="store_true", help=about)
            about = "with two processes on each side, which share a store in PostgreSQL"
            made.add_argument("--postgres", action="store_true", help=about)
        case "campaign requests" | "campaign proofs":
            _add_cases(made, compares=command.endswith("proofs"))
        case "test" | "campaign network" | "campaign peers":
            made.add_argument(
                "arguments", nargs="*", metavar="ARGUMENT", help="as pytest has it"
            )
        case "network":
            made.add_argument("verb", nargs="*", metavar="VERB", help="with its arguments")
        case _:
            pass
    return made


def _add_cases(made: argparse.ArgumentParser, *, compares: bool) -> None:
    about = "how many cases in all: 10000"
    made.add_argument("--count", type=int, default=10_000, metavar="N", help=about)
    made.add_argument("--seed", type=int, metavar="N", help="of an earlier campaign")
    if compares:
        about, cores = "at once; as many as there are cores", os.cpu_count()
        made.add_argument("--processes", type=int, default=cores, metavar="N", help=about)
        about = "compare one stored case again, and nothing else"
        made.add_argument("--replay", type=Path, metavar="FILE", help=about)


def _add_json(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there, one flat object"
    )


def _groups(words: str) -> tuple[str, ...]:
    """Read `--only`."""
    found = tuple(words.split(","))
    if unknown := set(found).difference(BENCH):
        raise argparse.ArgumentTypeError(
            f"no {', '.join(sorted(unknown))}; of: {', '.join(BENCH)}"
        )
    return found
