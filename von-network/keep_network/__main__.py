"""`python -m keep_network`: what `von-network/manage` runs."""

import os

try:
    from keep_network.cli import main
except KeyboardInterrupt:  # so early that nothing was started
    raise SystemExit(130) from None

# Not SystemExit: a native thread of indy-vdr that calls back while the interpreter shuts down
# aborts the process ("exception not rethrown") after all the work was done.
os._exit(main())
