"""`python -m keep_network`: what `von-network/manage` runs."""

from keep_network.cli import main

raise SystemExit(main())
