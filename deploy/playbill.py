"""The command lines of the demos, and their help, which needs nothing set up."""

from __future__ import annotations

import argparse

HELP = """\
Starts a real Indy network of four validators and four agents (a licence office, Alice, a bar,
Tim), each a process with its own encrypted store, and tells how Alice proves that she is over
18 without showing her birthday. All of it is on this machine; ports are free ones, data is in
.indykeep/demo-... and is removed at the end. Exit code 0: everything that was said was checked
and is true.

`./manage demo multisig` tells another story: five trustees, three of whom must agree."""
BOARD = """\
Starts a real Indy network of four validators. Ana, Ben, Cas, Dee and Eli make keys (encrypted stores, a
token where SoftHSM2 is installed, a group of which two of three sign), put 3 of 5 in force, and
approve a new endorser by files and a QR code; then attacks are tried and fail, and a stolen key is
replaced by the others. Every line shown is a real command, run as shown. All of it is on this
machine; data is in .indykeep/demo-... and is removed at the end. Exit code 0: everything that was
said was checked and is true."""


def parser() -> argparse.ArgumentParser:
    """Return what reads `./manage demo`."""
    return _parser("./manage demo", HELP)


def board() -> argparse.ArgumentParser:
    """Return what reads `./manage demo multisig`."""
    return _parser("./manage demo multisig", BOARD)


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--keep", action="store_true", help="keep it all running, until Ctrl-C, and say where"
    )
    return made
