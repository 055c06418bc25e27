"""Where the demos enter Python: no traceback at a Ctrl-C, not even while modules load."""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    if sys.argv[1:2] == ["multisig"]:
        import board

        sys.exit(board.main(sys.argv[2:]))

    from demo import main

    sys.exit(main())
