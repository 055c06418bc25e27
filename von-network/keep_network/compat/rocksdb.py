"""The part of python-rocksdb that plenum uses, on rocksdict; python-rocksdb has no wheels."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import rocksdict

_OPTIONS = (
    "max_open_files",
    "max_log_file_size",
    "keep_log_file_num",
    "db_log_dir",
    "target_file_size_base",
    "write_buffer_size",
    "max_write_buffer_number",
)
_MEMTABLE = 256 << 10  # a process has some 90 databases: with 2 MB each it grows by 100 MB
_LOG = 1 << 20
_CACHE = rocksdict.Cache(8 << 20)  # one for all databases of the process

_ZERO = 128  # the first byte of an integer key: above it positive, below it negative


class IComparator:
    """What plenum's integer comparator inherits from; its order is in the keys (`_int_key`)."""


class LRUCache(int):
    """A cache size. It is accepted and not used: all databases share one cache."""


class BlockBasedTableFactory:
    """How blocks are stored; only the block size is passed on."""

    def __init__(self, block_size: int | None = None, **_caches: object) -> None:
        self.block_size = block_size


class Options:
    """The options that plenum sets, by attribute; what stays None keeps its default."""

    comparator: IComparator | None = None
    create_if_missing = False
    table_factory: BlockBasedTableFactory | None = None
    max_open_files: int | None = None
    max_log_file_size: int | None = None
    keep_log_file_num: int | None = None
    db_log_dir: str | None = None
    target_file_size_base: int | None = None
    write_buffer_size: int | None = None
    max_write_buffer_number: int | None = None

    def native(self) -> rocksdict.Options:
        """Return them as rocksdict's options."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(self.create_if_missing)
        options.set_write_buffer_size(_MEMTABLE)
        options.set_max_log_file_size(_LOG)
        for name in _OPTIONS:
            value = getattr(self, name)
            if value is not None and value != os.devnull:  # a log folder has to be a folder
                getattr(options, f"set_{name}")(value)
        table = rocksdict.BlockBasedOptions()
        table.set_block_cache(_CACHE)
        if self.table_factory and self.table_factory.block_size:
            table.set_block_size(self.table_factory.block_size)
        options.set_block_based_table_factory(table)
        return options


class WriteBatch:
    """Puts and deletes that are written together or not at all."""

    def __init__(self) -> None:
        self.changes: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        """Note a put."""
        self.changes.append((key, value))

    def delete(self, key: bytes) -> None:
        """Note a delete."""
        self.changes.append((key, None))


class DB:
    """An open database; a second one on the same folder is refused by RocksDB itself."""

    def __init__(self, path: str, opts: Options, read_only: bool = False) -> None:  # noqa: FBT001, FBT002
        integers = opts.comparator is not None
        self.encode: Callable[[bytes], bytes] = _int_key if integers else bytes
        self.decode: Callable[[bytes], bytes] = _int_text if integers else bytes
        access = (
            rocksdict.AccessType.read_only() if read_only else rocksdict.AccessType.read_write()
        )
        self.rows = rocksdict.Rdict(path, opts.native(), access_type=access)
        self._flushed = rocksdict.WriteOptions()
        self._flushed.sync = True

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None."""
        return self.rows.get(self.encode(key))

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value."""
        self.rows[self.encode(key)] = bytes(value)

    def delete(self, key: bytes) -> None:
        """Remove a key; a key that is not there is not an error."""
        self.rows.delete(self.encode(key))

    def write(self, batch: WriteBatch, sync: bool = False) -> None:  # noqa: FBT001, FBT002
        """Apply a batch whole; with `sync` it survives a power cut, not only a dead process."""
        native = rocksdict.WriteBatch(raw_mode=True)
        for key, value in batch.changes:
            if value is None:
                native.delete(self.encode(key))
            else:
                native.put(self.encode(key), bytes(value))
        self.rows.write(native, *([self._flushed] if sync else []))

    def key_may_exist(self, key: bytes) -> tuple[bool, None]:
        """Say whether the key is there (exactly; the original may err towards yes)."""
        return self.get(key) is not None, None

    def iterkeys(self) -> Cursor:
        """Walk the keys, in order."""
        return Cursor(self, lambda at: self.decode(at.key()))

    def itervalues(self) -> Cursor:
        """Walk the values, in the order of their keys."""
        return Cursor(self, lambda at: at.value())

    def iteritems(self) -> Cursor:
        """Walk pairs of key and value, in order."""
        return Cursor(self, lambda at: (self.decode(at.key()), at.value()))

    def close(self) -> None:
        """Release the folder; plenum calls it more than once."""
        with contextlib.suppress(rocksdict.DbClosedError):
            self.rows.close()

    def __del__(self) -> None:
        # plenum drops databases without closing them, and opens the same folder again
        with contextlib.suppress(Exception):
            self.close()


class Cursor:
    """A place in the database: seek, then iterate."""

    def __init__(self, db: DB, make: Callable[[Any], Any]) -> None:
        self._db, self._make, self._at = db, make, db.rows.iter()

    def seek(self, key: bytes) -> None:
        """Go to the first key that is not before this one."""
        self._at.seek(self._db.encode(key))

    def seek_for_prev(self, key: bytes) -> None:
        """Go to the last key that is not after this one."""
        self._at.seek_for_prev(self._db.encode(key))

    def seek_to_first(self) -> None:
        """Go to the first key."""
        self._at.seek_to_first()

    def seek_to_last(self) -> None:
        """Go to the last key."""
        self._at.seek_to_last()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._at.valid():
            raise StopIteration
        item = self._make(self._at)
        self._at.next()
        return item


def _int_key(key: bytes) -> bytes:
    """Turn `b"-12"` into bytes that sort as the numbers do.

    Plenum orders ledger transactions with a Python comparator, which rocksdict cannot call
    from native threads; with the plain text as key, transaction 10 would come before 9.
    """
    number = int(key)
    size = (abs(number).bit_length() + 7) // 8
    if number < 0:
        return bytes((_ZERO - 1 - size,)) + (number + (1 << 8 * size)).to_bytes(size, "big")
    return bytes((_ZERO + size,)) + number.to_bytes(size, "big")


def _int_text(key: bytes) -> bytes:
    number = int.from_bytes(key[1:], "big")
    if key[0] < _ZERO:
        number -= 1 << 8 * (_ZERO - 1 - key[0])
    return str(number).encode()
