"""The type of a JSON object that was read and is not checked yet."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
