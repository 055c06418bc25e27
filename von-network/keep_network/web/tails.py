"""The tails server: files of revocation registries, kept by their hash."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import BinaryIO

import base58
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from keep_network.web.connection import Connection
from keep_network.web.errors import BadRequestError, NotFoundError, TooLargeError
from keep_network.web.transactions import mapping

log = logging.getLogger(__name__)

MOST_BYTES = 16 << 20
"""Enough for 32,768 credentials, the most that a registry can have (8.4 MB)."""

_HASH = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,46}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._ %/+-]{20,511}")
_START = b"\0\2"
_POINT_BYTES = 128
_PIECE = 1 << 16


class Tails:
    """Takes and gives tails files; what is kept has the hash that it is asked for by.

    Args:
        folder: where the files are; made when the first one comes.
    """

    def __init__(self, folder: Path, connection: Connection) -> None:
        self._folder = folder
        self._connection = connection

    async def put_registry(self, request: web.Request) -> web.Response:
        """`PUT /{revoc_reg_id}`: multipart with `genesis` and `tails`.

        The registry must be on our ledger, and the file must have the hash that it names.
        """
        name = _registry(request.match_info["name"])
        draft, found = await self._receive(request)
        try:
            answer = await self._connection.nodes.read({"type": "115", "id": name})
            told = mapping(mapping(answer.get("data")).get("value"))
            if not told:
                raise NotFoundError(f"The ledger has no revocation registry {name}.")
            if told.get("tailsHash") != found:
                raise BadRequestError("The tails file has another hash than its registry says.")
            await asyncio.to_thread(self._keep, draft, found, name)
        finally:
            draft.unlink(missing_ok=True)
        return web.Response(text=found)

    async def put_hash(self, request: web.Request) -> web.Response:
        """`PUT /hash/{hash}`: multipart with `tails`; nothing is asked of the ledger."""
        wanted = _hash(request.match_info["name"])
        draft, found = await self._receive(request)
        try:
            if found != wanted:
                raise BadRequestError("The tails file has another hash than its name says.")
            await asyncio.to_thread(self._keep, draft, found, None)
        finally:
            draft.unlink(missing_ok=True)
        return web.Response(text=found)

    async def get_registry(self, request: web.Request) -> web.StreamResponse:
        """`GET /{revoc_reg_id}`."""
        entry = self._entry(_registry(request.match_info["name"]))
        if not entry.is_file():
            raise NotFoundError("There is no such tails file.")
        return self._send(entry.read_text())

    async def get_hash(self, request: web.Request) -> web.StreamResponse:
        """`GET /hash/{hash}`."""
        return self._send(_hash(request.match_info["name"]))

    def _send(self, name: str) -> web.FileResponse:
        path = self._folder / _hash(name)
        if not path.is_file():
            raise NotFoundError("There is no such tails file.")
        kind = {"Content-Type": "application/octet-stream"}
        return web.FileResponse(path, headers=kind, chunk_size=_PIECE)

    async def _receive(self, request: web.Request) -> tuple[Path, str]:
        """Write the part `tails` to a draft beside the files; return it and its hash."""
        if not request.content_type.startswith("multipart/"):
            raise BadRequestError("A tails file must be sent as multipart/form-data.")
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, path = tempfile.mkstemp(prefix="draft-", dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                return Path(path), await _save(request, file)
        except BaseException:
            os.unlink(path)  # noqa: PTH108 - a Path is refused in coroutines
            raise

    def _keep(self, draft: Path, found: str, registry: str | None) -> None:
        draft.chmod(0o644)
        draft.replace(self._folder / found)
        if registry is not None:
            entry = self._entry(registry)
            entry.parent.mkdir(exist_ok=True)
            entry.write_text(found)
        log.info("a tails file was kept: %s", found)

    def _entry(self, registry: str) -> Path:
        name = hashlib.sha256(registry.encode()).hexdigest()
        return self._folder / "registries" / name


async def _save(request: web.Request, file: BinaryIO) -> str:
    """Write the part `tails`, bounded; return its hash as the ledger writes it."""
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "tails":
                return await _copy(part, file)
    except (ValueError, AssertionError, HttpProcessingError) as error:
        raise BadRequestError("This is not multipart/form-data.") from error
    raise BadRequestError("The part `tails` is missing.")


async def _copy(part: BodyPartReader, file: BinaryIO) -> str:
    digest, size, start = hashlib.sha256(), 0, b""
    while piece := await part.read_chunk(_PIECE):
        start = start or piece[: len(_START)]
        size += len(piece)
        if size > MOST_BYTES:
            raise TooLargeError(f"A tails file has at most {MOST_BYTES >> 20} MB.")
        digest.update(piece)
        file.write(piece)
    if start != _START or (size - len(_START)) % _POINT_BYTES or size == len(_START):
        raise BadRequestError(
            "This is not a tails file: one begins with 00 02, then 128 byte points."
        )
    return base58.b58encode(digest.digest()).decode()


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise BadRequestError("The hash of a tails file is 32 bytes in base58.")
    return text


def _registry(text: str) -> str:
    if not _ID.fullmatch(text) or ":" not in text or ".." in text:
        raise NotFoundError("There is no such page.")
    return text
