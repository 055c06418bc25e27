"""Objects that never change are read once: a bounded memory cache over a folder on disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from keep_ledger.indy.cache_files import read_text, write_text
from keep_ledger.interface import CredDef, Schema

log = logging.getLogger(__name__)

Object = TypeVar("Object", Schema, CredDef)

_IN_MEMORY = 256


class ObjectCache(Generic[Object]):
    """Objects of one kind by their did:indy id. An absent object is never cached.

    One reader at a time asks for an id; others that need the same id wait for its answer.
    """

    def __init__(self, kind: type[Object], folder: Path | None) -> None:
        self._kind: type[Object] = kind
        self._folder = folder
        self._memory: OrderedDict[str, Object] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def get(self, key: str, ask: Callable[[], Awaitable[Object | None]]) -> Object | None:
        """Return the object from memory, from disk or by asking."""
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            if key in self._memory:
                return self._memory[key]
            found = await asyncio.to_thread(self._read, key)
            if found is None:
                found = await ask()
                if found is None:
                    return None
                await asyncio.to_thread(self._write, key, found)
            self._memory[key] = found
            if len(self._memory) > _IN_MEMORY:
                self._memory.popitem(last=False)
            return found

    def _path(self, key: str) -> Path | None:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / f"{name}.json" if self._folder else None

    def _read(self, key: str) -> Object | None:
        path = self._path(key)
        text = read_text(path) if path else None
        if text is None:
            return None
        try:
            members: dict[str, Any] = json.loads(text)
            if "attr_names" in members:
                members["attr_names"] = tuple(members["attr_names"])
            found = self._kind(**members)
        except (ValueError, TypeError):
            return None
        return found if found.id == key else None

    def _write(self, key: str, found: Object) -> None:
        path = self._path(key)
        if path is None:
            return
        try:
            write_text(path, json.dumps(asdict(found)))
        except OSError as error:
            log.warning("ledger object not cached", extra={"id": key, "reason": str(error)})
