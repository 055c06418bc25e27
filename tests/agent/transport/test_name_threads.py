"""Look-ups of names: one that takes long keeps no other waiting."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keep_agent.transport import name_threads as module
from keep_agent.transport.name_threads import NameThreads


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Names of `.example` are answered for once this is set, and then do not exist."""
    ends = threading.Event()
    real: Callable[..., Any] = socket.getaddrinfo

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
        if host.endswith(".example"):
            ends.wait(30)
            raise socket.gaierror
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield ends
    ends.set()


async def test_sec_r_03_a_name_is_found_while_200_others_are_waited_for(
    slow: threading.Event,
) -> None:
    names = NameThreads()
    waiting = [asyncio.create_task(names.resolve(f"{i}.example")) for i in range(200)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        found = await names.resolve("localhost", 80, socket.AF_INET)
    assert [(each["host"], each["port"]) for each in found] == [("127.0.0.1", 80)]
    assert not any(task.done() for task in waiting)
    slow.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {socket.gaierror}


async def test_whoever_waits_no_longer_leaves_the_look_up_to_itself(
    slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1)
    names = NameThreads()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await names.resolve("a.example")
    with pytest.raises(OSError, match="too many names"):
        await names.resolve("localhost")
    slow.set()
    async with asyncio.timeout(5):
        while True:
            try:
                assert await names.resolve("localhost")
            except OSError:  # the thread has not ended yet
                await asyncio.sleep(0.002)
            else:
                break
