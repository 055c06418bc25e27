"""One attempt to deliver a message: its destination, limits, encryption, and sending.

The cost of an attempt is bounded first (SEC-R 01, 02): recipients, mediators and bytes are counted
before anything is encrypted, and a large message is encrypted outside the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Protocol as Port

from keep_agent.core.machine import Target
from keep_agent.core.message import LARGE, Json, write_json
from keep_agent.didcomm.envelope import seal, sealed_size
from keep_agent.didcomm.lanes import QueuedMessage
from keep_agent.errors import TOO_LONG, KeepError, RefusedError, UnavailableError
from keep_agent.identity.connections import CONNECTION, Connection, Records
from keep_agent.identity.keys import Keys
from keep_agent.store.rows import Outgoing
from keep_agent.transport.egress import Blocked, Delivery, Retry, Unclear

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/ssi-agent-wire"
OUR_TRIES = 3
"""How many attempts may fail on our own side before a message is given up."""

MOST_TIMES = 8
"""How many times longer than the bytes received on its thread a sent message may be (SEC-R 02)."""
MOST_OF_AN_ID = 200
CAUSES = 4096
"""For how many threads the received bytes are remembered; messages on older ones have no such limit."""


class Carrier(Port):
    """Sends packed messages to a URL; see `transport.egress`."""

    async def post(self, url: str, body: bytes, content_type: str, *, hurry: bool) -> Delivery:
        """Deliver one packed message; every outcome is a value.

        Args:
            hurry: wait for a short time only.
        """
        ...


@dataclass(frozen=True, slots=True)
class EndpointChanged:
    """The peer has another endpoint now; nothing was sent."""

    endpoint: str | None


@dataclass(frozen=True, slots=True)
class TooLong:
    """The message is longer than we send; nothing was sent."""

    reason: str


Outcome = Delivery | EndpointChanged | TooLong


class Attempts:
    """Makes the attempts of one tenant."""

    def __init__(self, records: Records, keys: Keys, carrier: Carrier) -> None:
        self._records = records
        self._keys = keys
        self._carrier = carrier
        self._causes: OrderedDict[str, int] = OrderedDict()

    def note_size(self, thid: str, size: int) -> None:
        """Note how many bytes were received on a thread."""
        if len(thid) > MOST_OF_AN_ID:
            return  # no message with such an id gets an answer
        self._causes[thid] = self._causes.pop(thid, 0) + size
        if len(self._causes) > CAUSES:
            self._causes.popitem(last=False)

    async def make(
        self, message: QueuedMessage, row: Outgoing, endpoint: str, *, hurry: bool
    ) -> Outcome:
        """Try once to deliver a message; one that always fails on our own side is given up."""
        try:
            return await self._send(message, row, endpoint, hurry=hurry)
        except UnavailableError as error:
            return Retry(str(error), None)
        except RefusedError as error:
            return TooLong(str(error)) if error.code == TOO_LONG else Blocked(str(error))
        except KeepError as error:
            return Blocked(str(error))
        except Exception as error:  # the top of this attempt: others go on (SEC-R 04)
            log.exception("delivery failed", extra={"thid": message.thid})
            message.faults += 1
            if message.faults < OUR_TRIES:
                return Retry("our side failed", None)
            return Blocked(f"our side failed each time: {type(error).__name__}")

    async def _send(
        self, message: QueuedMessage, row: Outgoing, endpoint: str, *, hurry: bool
    ) -> Outcome:
        target, body = await self._destination(row)
        if target is None or target.endpoint != endpoint:
            return EndpointChanged(target.endpoint if target else None)
        packed = await self._seal(message, write_json(body), target)
        outcome = await self._carrier.post(endpoint, packed, CONTENT_TYPE, hurry=hurry)
        if isinstance(outcome, Unclear):
            message.sent += len(packed)
        return outcome

    async def _destination(self, row: Outgoing) -> tuple[Target | None, Json]:
        """Return where a message goes, and the message as it is sent there."""
        record = (
            await self._records.fetch(CONNECTION, row.connection) if row.connection else None
        )
        if record is None:
            return row.target, row.body
        connection = Connection.model_validate(record)
        return connection.target, connection.with_service(row.body)

    async def _seal(self, message: QueuedMessage, body: bytes, target: Target) -> bytes:
        """Encrypt a message.

        Raises:
            KeepError: it cannot be encrypted, or it would cost too much.
        """
        sender = await self._keys.load(target.sender)
        if sender is None:
            raise RefusedError("the key to encrypt it with is gone")
        size = sealed_size(len(body), len(target.recipients), len(target.routing))
        if size > (most := self._most(message, len(body))):
            raise RefusedError(
                f"with its mediators it has {size} bytes; for this message {most} is the most"
            )
        work = partial(seal, body, target.recipients, sender, target.routing)
        return await asyncio.to_thread(work) if size > LARGE else work()

    def _most(self, message: QueuedMessage, size: int) -> int:
        """Return how many bytes may be sent for a message, unclear attempts included.

        The peer chooses recipients and mediators, so the limit depends on what was received from it;
        the message itself may always be sent.
        """
        came = self._causes.get(message.thid)
        return max(MOST_TIMES * came - message.sent, 2 * size) if came else sys.maxsize
