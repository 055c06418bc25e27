"""Policies: commands that run automatically, by protocol and connection; there are none at first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from keep_agent.core.catalog import find_protocol
from keep_agent.core.machine import NOT_FOR_CALLERS, Command, Exchange, Protocol, Put, Then
from keep_agent.core.model_errors import explained
from keep_agent.errors import BadCommandError, UnavailableError
from keep_agent.store.profile import Profile

POLICY = "policy"
AGAIN_S = 0.5


class Automatic(BaseModel):
    """A command to run automatically, with its arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    args: dict[str, Any] = {}


class Policy(BaseModel):
    """Which command to run in which state of a protocol.

    Attributes:
        connection: for this connection only; None: for all that have no policy of their own.
        auto: by the state that an exchange has reached.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str
    connection: str | None = None
    auto: dict[str, Automatic]

    @property
    def name(self) -> str:
        """The name of its record."""
        return f"{self.protocol} {self.connection or '*'}"

    def put(self) -> Put:
        """Return the write that stores it."""
        return Put(POLICY, self.name, self.model_dump(mode="json"))


class Policies:
    """The policies of one tenant in memory; `load` once, `adopt` what is committed later."""

    def __init__(self, protocols: Mapping[str, Protocol[Any]]) -> None:
        self._protocols = protocols
        self._policies: dict[str, Policy] = {}
        self._changed = asyncio.Event()

    async def load(self, profile: Profile) -> None:
        """Read them from the store."""
        for _, record in await profile.find(POLICY):
            self.adopt(Policy.model_validate(record))

    def reload(self) -> None:
        """Read them again soon: another process has changed one."""
        self._changed.set()

    async def run(self, profile: Profile) -> None:
        """Read them when another process has changed one, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.load(profile)
            except UnavailableError:
                await asyncio.sleep(AGAIN_S)
                self._changed.set()

    def adopt(self, policy: Policy) -> None:
        """Use this policy from now on."""
        self._policies[policy.name] = policy

    def all(self) -> list[Policy]:
        """Return every policy."""
        return list(self._policies.values())

    def check(self, policy: Policy) -> Policy:
        """Check that a policy can work; return it with the protocol's name as `family/major`.

        Raises:
            BadCommandError: no such protocol, state or command, or its arguments do not fit.
        """
        protocol = find_protocol(self._protocols.values(), policy.protocol)
        if protocol is None:
            known = ", ".join(sorted(self._protocols))
            raise BadCommandError(f"no protocol {policy.protocol!r}; there are: {known}")
        if policy.connection is not None and policy.connection.startswith("did:"):
            raise BadCommandError(
                "a policy names a connection by its id, never a DID (SEC-D04)"
            )
        for state, automatic in policy.auto.items():
            command = parse_command(protocol, automatic.command, automatic.args)
            if why := command.not_by_policy():
                raise BadCommandError(f"{automatic.command}: {why}")
            if not any(at == state and on is type(command) for _, at, on in protocol.cells):
                known = ", ".join(_states_of(protocol, type(command)))
                raise BadCommandError(
                    f"{automatic.command} is not a command of the state {state!r}, but of: {known}"
                )
        return policy.model_copy(update={"protocol": protocol.name})

    def commands(self, x: Exchange[Any]) -> tuple[Then, ...]:
        """Return what to run now that an exchange has reached its state."""
        policy = self._policies.get(f"{x.protocol} {x.connection}") or self._policies.get(
            f"{x.protocol} *"
        )
        automatic = policy.auto.get(x.state) if policy else None
        if automatic is None:
            return ()
        protocol = self._protocols[x.protocol]
        command = parse_command(protocol, automatic.command, automatic.args)
        return (Then(command),) if (x.role, x.state, type(command)) in protocol.cells else ()


def parse_command(protocol: Protocol[Any], name: str, args: Mapping[str, Any]) -> Command:
    """Read a command by its name, as the API takes it.

    Raises:
        BadCommandError: the protocol has no such command, or the arguments do not fit it.
    """
    model = protocol.commands.get(name)
    if model is None or model in NOT_FOR_CALLERS:
        known = ", ".join(
            sorted(n for n, c in protocol.commands.items() if c not in NOT_FOR_CALLERS)
        )
        raise BadCommandError(f"{protocol.name} has no command {name!r}; it has: {known}")
    try:
        return model.model_validate(args)
    except ValidationError as error:
        raise BadCommandError(f"{name}: {explained(error, model)}") from None


def _states_of(protocol: Protocol[Any], on: type[Command]) -> list[str]:
    return sorted({at for _, at, event in protocol.cells if event is on})
