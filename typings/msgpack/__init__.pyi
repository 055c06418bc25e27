# What this project uses of msgpack 1.2.

from typing import Any

def packb(value: Any, *, use_bin_type: bool = True) -> bytes: ...

Unpacker: Any
