"""The rows of messages that are not delivered yet, and of those that never will be."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

from keep_agent.core.machine import ABANDONED, Exchange, Put
from keep_agent.core.message import Json
from keep_agent.didcomm.lanes import QueuedMessage
from keep_agent.errors import ConflictError, UnavailableError
from keep_agent.store.profile import Profile
from keep_agent.store.rows import DEAD, Commit, Outgoing, day

log = logging.getLogger(__name__)

AGAIN_S = 0.5


class Undelivered:
    """The rows of one tenant's messages until they are delivered."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def left(self) -> list[Outgoing]:
        """Return what an earlier process committed and did not deliver, in the order of commits."""
        return self._profile.left_to_send

    async def load(self, name: str) -> Outgoing | None:
        """Return one message, or None: it is not there any more."""
        return await self._profile.undelivered(name)

    def delivered(self, name: str) -> None:
        """Remove a delivered message soon."""
        self._profile.delivered([name])

    async def dead(self, message: QueuedMessage, reason: str) -> None:
        """Keep a message that cannot be delivered as a dead letter; its exchange and an event say why."""
        log.warning("message is undeliverable", extra={"thid": message.thid, "reason": reason})
        row = message.row or await self.load(message.name)
        body = row.body if row is not None else {}
        record: Json = {
            "message": body,
            "connection": message.peer.connection,
            "reason": reason,
            "at": time.time(),
        }
        kind = str(body.get("@type"))
        event = {"type": DEAD, "thid": message.thid, "message": kind, "reason": reason}
        while True:
            x = await self._profile.exchange(exchange_of(message.name))
            commit = Commit(
                exchanges=(_told(x, reason),) if x else (),
                delivered=(message.name,),
                writes=(Put(DEAD, message.name, record, {"~day": day(time.time())}),),
                events=(event,),
            )
            try:
                await self._profile.commit(commit)
            except ConflictError:
                continue
            except UnavailableError:
                await asyncio.sleep(AGAIN_S)
            else:
                return


def _told(x: Exchange[Any], reason: str) -> Exchange[Any]:
    """Return an exchange with this error, unless it was abandoned with a reason of its own."""
    if x.state == ABANDONED and x.error:
        return x
    return replace(x, error=f"a message cannot be delivered: {reason}")


def exchange_of(name: str) -> str:
    """Return the id of the exchange that a message belongs to, by the name of its row."""
    return name.partition(".")[0]
