"""A protocol of two messages and a store to run it on, for tests of the machinery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import ClassVar
from typing import Protocol as Port

import base58

from keep_agent.core.machine import (
    START,
    STATELESS,
    Command,
    Data,
    Exchange,
    Protocol,
    Put,
    Role,
    Step,
    abandoning,
    rule,
)
from keep_agent.core.message import Ack, Message
from keep_agent.errors import LocalError, RefusedError
from keep_agent.store.location import Sqlite
from keep_agent.store.store import Store

KEY = base58.b58encode(b"k" * 32).decode()
URI = "https://didcomm.org/toy/1.2"


class Knock(Message):
    TYPE: ClassVar[str] = f"{URI}/knock"
    word: str


class Open(Message):
    TYPE: ClassVar[str] = f"{URI}/open"


class Whisper(Message):
    TYPE: ClassVar[str] = f"{URI}/whisper"


class ToyAck(Ack):
    TYPE: ClassVar[str] = f"{URI}/ack"


class SendKnock(Command):
    word: str = "please"


class SendOpen(Command):
    fail: str = ""


class Close(Command):
    """Do not wait for the ack."""


class Doorkeeper(Port):
    async def likes(self, word: str) -> bool: ...


class Likes:
    """A port that likes every word but one."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def likes(self, word: str) -> bool:
        self.asked.append(word)
        await asyncio.sleep(0)
        return word != "now!"


class Side(Role):
    GUEST = "guest"
    HOST = "host"


class State(StrEnum):
    KNOCKED = "knocked"
    HEARD = "heard"
    OPENED = "opened"
    DONE = "done"


class Memory(Data):
    word: str = ""


X = Exchange[Memory]


async def knock(_x: X, cmd: SendKnock, _: Doorkeeper) -> Step[Memory]:
    return Step(State.KNOCKED, data=Memory(word=cmd.word), send=(Knock(word=cmd.word),))


async def hear(_x: X, msg: Knock, port: Doorkeeper) -> Step[Memory]:
    if not await port.likes(msg.word):
        raise RefusedError("say please", "e.p.rude")
    return Step(State.HEARD, data=Memory(word=msg.word), writes=(Put("guest", msg.word, {}),))


async def open_(x: X, cmd: SendOpen, _: Doorkeeper) -> Step[Memory]:
    match cmd.fail:
        case "local":
            raise LocalError("the door is stuck")
        case "peer":
            raise RefusedError("not you", "e.p.not-you")
        case "bug":
            raise ZeroDivisionError
        case "slow":
            await asyncio.sleep(0.2)
        case _:
            pass
    return Step(State.OPENED, send=(Open(),))


async def enter(_x: X, _msg: Open, _: Doorkeeper) -> Step[Memory]:
    return Step(State.DONE, send=(ToyAck(),))


async def close(_x: X, _: ToyAck | Close, __: Doorkeeper) -> Step[Memory]:
    return Step(State.DONE)


async def listen(_x: X, _msg: Whisper, _: Doorkeeper) -> Step[Memory]:
    return Step(STATELESS, send=(Open(),))


# fmt: off
TOY: Protocol[Doorkeeper] = Protocol(uri=URI, data=Memory, port="door", expires_s=60, rules=(
    rule(Side.GUEST, START,         SendKnock, State.KNOCKED, knock),
    rule(Side.GUEST, State.KNOCKED, Open,      State.DONE,    enter),
    rule(Side.HOST,  START,         Knock,     State.HEARD,   hear),
    rule(Side.HOST,  State.HEARD,   Knock,     State.HEARD,   hear),
    rule(Side.HOST,  State.HEARD,   SendOpen,  State.OPENED,  open_),
    rule(Side.HOST,  State.OPENED,  ToyAck,    State.DONE,    close),
    rule(Side.HOST,  State.OPENED,  Close,     State.DONE,    close),
    rule(Side.HOST,  START,         Whisper,   STATELESS,          listen),
    *abandoning(Side.GUEST, (State.KNOCKED,)),
    *abandoning(Side.HOST, (State.HEARD, State.OPENED)),
))
# fmt: on


@asynccontextmanager
async def opened(path: Path, key: str = KEY) -> AsyncGenerator[Store]:
    """A store with its writer at work."""
    store = await Store.open(Sqlite(path), key, {TOY.name: Memory})
    writer = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await store.close()
