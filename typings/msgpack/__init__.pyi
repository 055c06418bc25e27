# What this project uses of msgpack 1.2.

from collections.abc import Callable
from typing import Any

def packb(value: Any, *, use_bin_type: bool = True) -> bytes: ...

# The nodes get versions of them with other defaults, see keep_network.compat.packages.
Unpacker: Any
unpackb: Callable[..., Any]
