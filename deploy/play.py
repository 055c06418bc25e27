"""Where the demo enters Python: no traceback at a Ctrl-C, not even while modules load."""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from demo import main

    sys.exit(main())
