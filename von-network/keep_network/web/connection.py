"""The way to the nodes: opened late, tried again for ever, honest about what is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from keep_network.web.errors import UnavailableError
from keep_network.web.genesis_check import check_genesis
from keep_network.web.nodes import Nodes
from keep_network.web.settings import Settings

log = logging.getLogger(__name__)

GENESIS_BYTES = 1 << 20
_FETCH_S = 15
_FIRST_PAUSE_S = 0.25

Open = Callable[[str], Awaitable[Nodes]]


@dataclass(slots=True)
class Connection:
    """The nodes once they answer, and until then the reason why they do not.

    Attributes:
        genesis: the text of the genesis, as it was given to us.
        error: why there are no nodes; None when there are or before the first try.
    """

    settings: Settings
    opens: Open
    genesis: str | None = None
    error: str | None = None
    open: Nodes | None = None

    @property
    def nodes(self) -> Nodes:
        """The nodes.

        Raises:
            UnavailableError: there is no connection yet.
        """
        if self.open is None:
            raise UnavailableError(self.error or "Not ready")
        return self.open

    async def connect(self) -> Nodes:
        """Try until it works; a new try reads the genesis again, as it may have been mended."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                genesis = await self._read()
                self.open = await self.opens(genesis)
            except UnavailableError as error:
                self._failed(str(error))
            else:
                self.genesis, self.error = genesis, None
                log.info("connected to %d nodes", len(self.open.names))
                return self.open
            await asyncio.sleep(pause)
            pause = min(2 * pause, self.settings.retry_s)

    def close(self) -> None:
        """Let go of the nodes; `connect` finds them again."""
        if self.open is not None:
            self.open.close()
            self.open = None

    def _failed(self, why: str) -> None:
        if why != self.error:
            log.warning("no connection to the nodes yet: %s", why)
        self.error = why

    async def _read(self) -> str:
        if self.settings.genesis_url:
            text = await _fetch(self.settings.genesis_url)
        else:
            text = await asyncio.to_thread(self._read_file)
        text = text.removeprefix("\ufeff")  # which indy-vdr does not read
        check_genesis(text)
        return text

    def _read_file(self) -> str:
        path = self.settings.genesis_file
        try:
            return path.read_text() if path else ""
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"the genesis cannot be read: {path}: {error}") from error


async def _fetch(url: str) -> str:
    timeout = aiohttp.ClientTimeout(total=_FETCH_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url) as answer,
        ):
            if not answer.ok:
                raise UnavailableError(f"GENESIS_URL answers {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > GENESIS_BYTES:
                    raise UnavailableError(
                        "GENESIS_URL gives more than 1 MB: this is not a genesis"
                    )
        return body.decode()
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
        why = str(error) or type(error).__name__
        raise UnavailableError(f"GENESIS_URL cannot be read: {why}") from error
