"""ujson 1.33, as plenum uses it, on the standard library; that version has no wheel.

Two of its habits are consensus rules:

* It raises TypeError for `sort_keys`. Plenum's serializer then falls back to `json` with
  UTF-8 text. A ujson that knew the argument would write an escape instead, and the node would
  compute other state roots than every real node.
* It turns nested messages into objects by `toDict` or `_asdict` before it tries to iterate
  them. As lists, catch-up replies are not understood and no node ever leaves catch-up.
"""

from __future__ import annotations

import json
from typing import IO, Any

JSONDecodeError = json.JSONDecodeError
loads = decode = json.loads
load = json.load


def dumps(obj: object, ensure_ascii: bool = True) -> str:  # noqa: FBT001, FBT002 - ujson's
    """Write compact JSON.

    Raises:
        TypeError: an argument that ujson 1.33 does not know, `sort_keys` among them.
    """
    return json.dumps(obj, separators=(",", ":"), default=_plain, ensure_ascii=ensure_ascii)


encode = dumps


def dump(obj: object, file: IO[str], ensure_ascii: bool = True) -> None:  # noqa: FBT001, FBT002
    """Write compact JSON to a file; same arguments as `dumps`."""
    file.write(dumps(obj, ensure_ascii))


def _plain(obj: Any) -> Any:
    if isinstance(obj, bytes | bytearray):
        return bytes(obj).decode()
    for name in ("toDict", "_asdict"):
        if hasattr(obj, name):
            return getattr(obj, name)()
    if hasattr(obj, "__iter__"):
        return list(obj)
    return {key: value for key, value in obj.__dict__.items() if not key.startswith("_")}
