"""One side of one exchange, step by step, without store and wire."""

from __future__ import annotations

from typing import Any

from keep_agent.core.machine import Command, Exchange, Protocol, Step
from keep_agent.core.message import Json, TypeUri


class Party:
    """Holds an exchange and gives it events; what it sends comes back as it would travel."""

    def __init__(self, protocol: Protocol[Any], role: str, port: object) -> None:
        self.protocol = protocol
        self.port = port
        self.last: Step[Any] = Step("start")
        self.x: Exchange[Any] = Exchange(
            id=f"{role}'s exchange",
            protocol=protocol.name,
            minor=protocol.minor,
            role=role,
            thid="thread",
            peer="peer",
            connection="peer",
            data=protocol.data(),
        )

    @property
    def state(self) -> str:
        return self.x.state

    @property
    def data(self) -> Any:
        return self.x.data

    async def do(self, command: Command) -> Json:
        """Run a command that sends one message."""
        sent = await self.take(command)
        assert len(sent) == 1
        return sent[0]

    async def hear(self, body: Json) -> list[Json]:
        """Take a message as it came."""
        model = self.protocol.message(TypeUri.parse(body["@type"]).name)
        assert model is not None
        return await self.take(model.model_validate(body))

    async def take(self, event: object) -> list[Json]:
        """Take any event; remember the exchange as the store would give it back."""
        after, step = await self.protocol.step(self.x, event, self.port)
        stored = after.data.model_dump(mode="json", exclude_defaults=True)
        assert self.protocol.data.model_validate(stored) == after.data
        self.x, self.last = after, step
        return [message.wire() for message in step.send]
