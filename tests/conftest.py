"""What tests of several rooms share: one pool whose rules they change."""

from governed import governed, governed_network, governed_once

__all__ = ["governed", "governed_network", "governed_once"]
