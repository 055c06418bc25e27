"""`python -m keep_agent` is the command `indykeep`."""

from __future__ import annotations

import sys

from keep_agent.cli.main import main

sys.exit(main())
