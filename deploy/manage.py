"""Where `./manage` enters Python: no traceback at a Ctrl-C, not even while modules load."""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.append(str(Path(__file__).resolve().parent.parent / "von-network"))

    from manage_commands import main
    from venvs import exit_code

    sys.exit(exit_code(lambda: main(sys.argv[1:])))
