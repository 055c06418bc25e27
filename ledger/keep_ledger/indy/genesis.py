"""Genesis transactions of an Indy pool: read strictly, pinned after first use.

All trust in a ledger starts with them: whoever can change them can pretend to be the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import base58
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from keep_ledger.errors import GenesisError
from keep_ledger.indy.cache_files import read_text, write_text
from keep_ledger.plugins import Fetch

_MAX_BYTES = 1024 * 1024
_MAX_NODES = 200
_FETCH_TIMEOUT_S = 15.0
_PINNED = "genesis.jsonl"
_KEY_BYTES = 32


def _address(text: str) -> str:
    """An IP address, as indy-node demands; indy-vdr 0.4 hangs for ever on anything else."""
    return str(ip_address(text))


def _key(text: str) -> str:
    """32 bytes in base58; another length makes indy-vdr 0.4 unusable for the whole process."""
    if len(base58.b58decode(text)) != _KEY_BYTES:
        raise ValueError("is not a key of 32 bytes")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Address = Annotated[Text, AfterValidator(_address)]
Key = Annotated[Text, AfterValidator(_key)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Node(_Model):
    alias: Text
    client_ip: Address
    client_port: Port
    node_ip: Address
    node_port: Port
    blskey: Text
    services: list[Text]


class _NodeData(_Model):
    data: _Node
    dest: Key


class _Txn(_Model):
    type: Literal["0"]
    data: _NodeData


class _Position(_Model):
    seq_no: int = Field(alias="seqNo")


class _Line(_Model):
    txn: _Txn
    metadata: _Position = Field(alias="txnMetadata")
    ver: Literal["1"]


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first pool transactions.

    Attributes:
        lines: one JSON object each, as they came.
        digest: hex SHA-256 of the lines in canonical JSON: white space does not count.
    """

    lines: tuple[str, ...]
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one NODE transaction per line.

        Raises:
            GenesisError: it is something else, or a validator has no BLS key, so that no proof could be checked.
        """
        lines = tuple(line.strip() for line in text.splitlines() if line.strip())
        if not 0 < len(lines) <= _MAX_NODES:
            raise GenesisError(f"a genesis has 1 to {_MAX_NODES} lines, this one {len(lines)}")
        nodes = [_parse_line(line, number) for number, line in enumerate(lines, 1)]
        if len({node.alias for node in nodes}) != len(nodes):
            raise GenesisError("the genesis names a node twice")
        canonical = (json.dumps(json.loads(line), sort_keys=True) for line in lines)
        return cls(lines, hashlib.sha256("\n".join(canonical).encode()).hexdigest())

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines) + "\n"


def _parse_line(text: str, number: int) -> _Node:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the line"
        raise GenesisError(f"genesis line {number}: {where}: {first['msg']}") from error
    if line.metadata.seq_no != number:
        raise GenesisError(
            f"genesis line {number} has the sequence number {line.metadata.seq_no}"
        )
    return line.txn.data.data


def check_file(source: str | None) -> None:
    """Read a genesis that is a file now, so that a wrong setting is told before anything starts.

    A URL is left alone: whoever serves it may answer later.

    Raises:
        GenesisError: there is no such file, it cannot be read, or it is not a genesis.
    """
    if source is None:
        raise GenesisError("no genesis is configured")
    if _is_url(source):
        return
    path = Path(source).absolute()
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise GenesisError(f"cannot read the genesis {path}: {error.strerror}") from error
    try:
        Genesis.parse(_text(raw, source))
    except GenesisError as error:
        raise GenesisError(f"{path} is not a genesis ({error})") from error


async def load(source: str, fetch: Fetch, folder: Path | None) -> Genesis:
    """Read the genesis and compare it with the one that was used first.

    Args:
        source: path of a file, or an http(s) URL. If the URL does not answer, the pinned copy is used.
        fetch: downloads the URL.
        folder: where the pinned copy is; None pins nothing.

    Raises:
        GenesisError: missing, malformed, or not the pinned one.
    """
    pinned = await asyncio.to_thread(_read_pinned, folder) if folder else None
    try:
        genesis = Genesis.parse(await _get(source, fetch))
    except OSError as error:
        if pinned is None or not _is_url(source):
            raise GenesisError(f"cannot get the genesis from {source}: {error}") from error
        return pinned
    if pinned is not None and pinned.digest != genesis.digest:
        raise GenesisError(
            f"the genesis at {source} is not the one that was used first (it was"
            f" {pinned.digest[:16]}, it is {genesis.digest[:16]}). If the network was really set up"
            f" again, delete the folder {folder} and start again; if not, trust neither and ask who runs it."
        )
    if pinned is None and folder is not None:
        await asyncio.to_thread(write_text, folder / _PINNED, genesis.text)
    return genesis


def _read_pinned(folder: Path) -> Genesis | None:
    text = read_text(folder / _PINNED)
    return None if text is None else Genesis.parse(text)


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


async def _get(source: str, fetch: Fetch) -> str:
    """The text at `source`; OSError if it cannot be read."""
    if _is_url(source):
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                raw = await fetch(source)
        except TimeoutError as error:
            raise OSError(f"no answer within {_FETCH_TIMEOUT_S:g} s") from error
    else:
        raw = await asyncio.to_thread(Path(source).read_bytes)
    return _text(raw, source)


def _text(raw: bytes, source: str) -> str:
    if len(raw) > _MAX_BYTES:
        raise GenesisError(f"the genesis at {source} has more than {_MAX_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise GenesisError(f"the genesis at {source} is not text") from error


def starts_with(transactions: str, genesis: Genesis) -> bool:
    """Whether cached pool transactions begin with this genesis."""
    lines = [line for line in transactions.splitlines() if line.strip()]
    head = lines[: len(genesis.lines)]
    try:
        return [_content(line) for line in head] == [_content(line) for line in genesis.lines]
    except ValueError:
        return False


def _content(line: str) -> Any:
    return json.loads(line)
