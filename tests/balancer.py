"""One address for several processes: whoever connects gets the next one that lives."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

BYTES = 1 << 16
NOBODY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""What is answered while none lives, so that whoever calls knows that nothing has happened."""


@asynccontextmanager
async def balancer(port: int, behind: Sequence[int]) -> AsyncGenerator[None]:
    """Take connections at a port and hand them to others, in turn."""
    turns = itertools.cycle(range(len(behind)))
    calls: set[asyncio.Task[None]] = set()

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        calls.add(task)
        first = next(turns)
        with suppress(
            OSError, asyncio.CancelledError
        ):  # the end of the block, where we are awaited
            for each in (*behind[first:], *behind[:first]):
                try:
                    inner = await asyncio.open_connection("127.0.0.1", each)
                except OSError:
                    continue
                await _joined(reader, writer, *inner)
                break
            else:
                await reader.read(BYTES)
                writer.write(NOBODY)
                await writer.drain()
        writer.close()
        calls.discard(task)

    server = await asyncio.start_server(call, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def _joined(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
) -> None:
    """Carry bytes both ways until one side ends."""
    ways = [
        asyncio.ensure_future(_carry(reader, inner_writer)),
        asyncio.ensure_future(_carry(inner_reader, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        inner_writer.transport.abort()  # first: at the end of the block the next line is cancelled
        await asyncio.gather(*ways, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while some := await reader.read(BYTES):
            writer.write(some)
            await writer.drain()
