"""Names are resolved in threads of their own: a slow look-up does not delay others (SEC-R 03).

The event loop's own threads are few, and peers choose the names and can run the name server.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread

from aiohttp.abc import AbstractResolver, ResolveResult

AT_ONCE = 512
"""More than a process delivers and fetches at once; a look-up may go on after its time limit."""

_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]


class NameThreads(AbstractResolver):
    """Resolves names by the operating system, in one thread for each look-up."""

    def __init__(self) -> None:
        self._left = BoundedSemaphore(AT_ONCE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            OSError: it has none, or too many names are looked up.
        """
        if not self._left.acquire(blocking=False):
            raise OSError("too many names are looked up at once")
        found: Future[list[_Address]] = Future()
        found.add_done_callback(lambda _: self._left.release())
        found.set_running_or_notify_cancel()  # a thread cannot be stopped, so neither can this
        Thread(target=_look_up, args=(found, host, port, family), daemon=True).start()
        addresses = await asyncio.wrap_future(found)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in addresses
        ]

    async def close(self) -> None:
        """Do nothing: the threads end with their look-ups."""


def _look_up(
    found: Future[list[_Address]], host: str, port: int, family: socket.AddressFamily
) -> None:
    try:
        addresses = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        found.set_exception(error)
    else:
        found.set_result(list(addresses))
