"""Where the demos enter Python: no traceback at a Ctrl-C, not even while modules load."""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    if sys.argv[1:2] == ["multisig"]:
        import demo_multisig

        sys.exit(demo_multisig.main(sys.argv[2:]))

    from demo_over_18 import main

    sys.exit(main())
