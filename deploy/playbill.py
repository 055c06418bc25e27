"""The command line of the demo, and its help, which needs nothing set up."""

from __future__ import annotations

import argparse

HELP = """\
Starts a real Indy network of four validators and four agents (a licence office, Alice, a bar,
Tim), each a process with its own encrypted store, and tells how Alice proves that she is over
18 without showing her birthday. All of it is on this machine; ports are free ones, data is in
.indykeep/demo-... and is removed at the end. Exit code 0: everything that was said was checked
and is true."""


def parser() -> argparse.ArgumentParser:
    """Return what reads `./manage demo`."""
    made = argparse.ArgumentParser(
        "./manage demo",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--keep", action="store_true", help="keep it all running, until Ctrl-C, and say where"
    )
    return made
