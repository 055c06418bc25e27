"""Every protocol table, walked cell by cell."""

from __future__ import annotations

import importlib
import pkgutil
import re
from enum import StrEnum
from types import ModuleType
from typing import Any

import pytest

import keep_agent.protocols
from keep_agent.core.machine import (
    ABANDONED,
    START,
    STATELESS,
    Command,
    Exchange,
    Expired,
    Protocol,
    ReportProblem,
)
from keep_agent.core.message import Message, ProblemReport, TypeUri
from keep_agent.errors import OutOfTurnError

MODULES = [
    importlib.import_module(f"keep_agent.protocols.{found.name}")
    for found in pkgutil.iter_modules(keep_agent.protocols.__path__)
]
TABLES = [
    pytest.param(module.PROTOCOL, id=module.PROTOCOL.name)
    for module in MODULES
    if hasattr(module, "PROTOCOL")
]


def states(protocol: Protocol[Any], role: str) -> set[str]:
    found = {START}
    for row in protocol.rules:
        if row.role == role:
            found |= {row.at, *row.to}
    return found


def reachable(protocol: Protocol[Any], role: str, start: str) -> set[str]:
    found, frontier = {start}, [start]
    while frontier:
        here = frontier.pop()
        for row in protocol.rules:
            if (row.role, row.at) == (role, here):
                frontier += row.to - found
                found |= row.to
    return found


def exchange(protocol: Protocol[Any], role: str, state: str) -> Exchange[Any]:
    return Exchange(
        id="x",
        protocol=protocol.name,
        minor=protocol.minor,
        role=role,
        thid="t",
        peer="p",
        data=protocol.data(),
        state=state,
    )


def event(kind: type[Any]) -> Any:
    return kind.model_construct()


@pytest.mark.parametrize("protocol", TABLES)
async def test_what_is_not_in_the_table_is_out_of_turn(protocol: Protocol[Any]) -> None:
    events = {row.on for row in protocol.rules} | {Expired, ProblemReport, ReportProblem}
    empty = 0
    for role in protocol.roles:
        for state in states(protocol, role):
            for on in events:
                if (role, state, on) in protocol.cells:
                    continue
                empty += 1
                before = exchange(protocol, role, state)
                with pytest.raises(OutOfTurnError):
                    await protocol.step(before, event(on), None)
    assert empty


@pytest.mark.parametrize("protocol", TABLES)
def test_every_row_is_a_transition_of_its_role(protocol: Protocol[Any]) -> None:
    for (role, at, on), row in protocol.cells.items():
        assert (row.role, row.at, row.on) == (role, at, on)
        assert row.to
        assert START not in row.to
        assert issubclass(on, Message | Command)


@pytest.mark.parametrize("protocol", TABLES)
def test_every_role_has_a_start_that_nobody_else_has(protocol: Protocol[Any]) -> None:
    starts = [row for row in protocol.rules if row.at == START]
    assert {row.role for row in starts} == set(protocol.roles)
    assert len({row.on for row in starts}) == len(starts)
    assert all(row.on not in {Expired, ProblemReport, ReportProblem} for row in starts)


@pytest.mark.parametrize("protocol", TABLES)
def test_every_state_is_reached_from_the_start(protocol: Protocol[Any]) -> None:
    for role in protocol.roles:
        assert reachable(protocol, role, START) == states(protocol, role)


@pytest.mark.parametrize("protocol", TABLES)
def test_from_every_state_an_end_is_reached(protocol: Protocol[Any]) -> None:
    for role in protocol.roles:
        for state in states(protocol, role):
            after = reachable(protocol, role, state)
            final = {s for s in after if protocol.final(role, s)}
            loops = {s for s in after if not reachable(protocol, role, s) - {s}}
            assert final | loops, f"{role} in {state} goes on for ever"


@pytest.mark.parametrize("protocol", TABLES)
def test_whoever_may_give_up_also_expires(protocol: Protocol[Any]) -> None:
    expiring = {(row.role, row.at) for row in protocol.rules if row.on is Expired}
    giving_up = {(row.role, row.at) for row in protocol.rules if row.on is ReportProblem}
    assert giving_up <= expiring
    assert bool(expiring) == (protocol.expires_s is not None)


@pytest.mark.parametrize("protocol", TABLES)
def test_nothing_leads_out_of_an_end(protocol: Protocol[Any]) -> None:
    for row in protocol.rules:
        assert row.at not in {ABANDONED, STATELESS}


@pytest.mark.parametrize("protocol", TABLES)
def test_every_message_is_of_its_protocol(protocol: Protocol[Any]) -> None:
    for message in protocol.messages.values():
        if message is ProblemReport:
            continue
        uri = TypeUri.parse(message.TYPE)
        assert uri.protocol == protocol.name
        assert uri.minor == protocol.minor
        assert protocol.message(uri.name) is message


@pytest.mark.parametrize("module", MODULES)
def test_every_state_that_is_named_is_used(module: ModuleType) -> None:
    if not hasattr(module, "PROTOCOL"):
        return
    protocol: Protocol[Any] = module.PROTOCOL
    named: type[StrEnum] = module.State
    used = {state for role in protocol.roles for state in states(protocol, role)}
    assert used - {START, STATELESS, ABANDONED} == set(named) - {ABANDONED}


@pytest.mark.parametrize("protocol", TABLES)
def test_every_role_can_be_drawn(protocol: Protocol[Any]) -> None:
    for role in protocol.roles:
        first, *lines = protocol.mermaid(role).splitlines()
        assert first == "stateDiagram-v2"
        arrows = [re.fullmatch(r"  (\w+) --> (\w+): [\w-]+", line) for line in lines]
        names = [re.fullmatch(r'  state "([\w-]+)" as (\w+)', line) for line in lines]
        assert all(arrow or name for arrow, name in zip(arrows, names, strict=True))
        shown = {name[2]: name[1] for name in names if name}
        drawn = {
            shown.get(state, state) for arrow in arrows if arrow for state in arrow.groups()
        }
        assert drawn == states(protocol, role)
