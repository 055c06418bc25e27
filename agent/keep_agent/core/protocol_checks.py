"""Whether the protocol of a package can work: what a type checker would have said, and what its table lacks."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable
from typing import Any, cast

from keep_agent.core.machine import START, Command, Data, Protocol, Rule
from keep_agent.core.message import Message, ProblemReport, TypeUri
from keep_agent.errors import BadMessageError

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_HANDLER_TAKES = 3


def checked(found: object, ports: frozenset[str]) -> Protocol[Any]:
    """Return a protocol that can work.

    Args:
        ports: the names of those that are installed.

    Raises:
        ValueError: it cannot; the text says why.
    """
    if not isinstance(found, Protocol):
        raise ValueError("it is not a Protocol")  # noqa: TRY004 - reported like every other reason
    protocol = cast("Protocol[Any]", found)  # type: ignore[redundant-cast]  # pyright wants it
    _check_values(protocol, ports)
    _check_data(protocol.data)
    if not protocol.rules:
        raise ValueError("its table has no row")
    for row in protocol.rules:
        _check_row(protocol, row)
    _check_names(protocol)
    _check_ways(protocol)
    return protocol


def _check_values(protocol: Protocol[Any], ports: frozenset[str]) -> None:
    port, expires_s, keep_days = protocol.port, protocol.expires_s, protocol.keep_days
    if port is not None and port not in ports:
        raise ValueError(
            f"it asks for the port {port!r}, which is not installed; a package adds one by an "
            "entry point in the group indykeep.ports"
        )
    if expires_s is not None and not (_is_number(expires_s) and 0 < expires_s < math.inf):
        raise ValueError(f"expires_s must be a number of seconds above 0, not {expires_s!r}")
    if not (_is_number(keep_days) and 0 <= keep_days < math.inf):
        raise ValueError(f"keep_days must be a number of days, not {keep_days!r}")
    if protocol.problem_report not in {"problem-report", "problem_report"}:
        raise ValueError("problem_report must be 'problem-report' or 'problem_report'")


def _check_data(model: object) -> None:
    if not (isinstance(model, type) and issubclass(model, Data)):
        raise ValueError("its data model must be a class that is derived from Data")  # noqa: TRY004 - as above
    try:
        data = model()
    except ValueError as error:
        raise ValueError(
            "its data model needs values at the start; give its fields defaults"
        ) from error
    try:
        same = model.model_validate(json.loads(data.model_dump_json())) == data
    except ValueError:  # of the library, whose text is long
        same = False
    if not same:
        raise ValueError("its data model cannot be stored as JSON and read again")


def _check_row(protocol: Protocol[Any], row: Rule[Any]) -> None:
    words = cast("list[object]", [row.role, row.at, *row.to])
    wrong = next((w for w in words if not (isinstance(w, str) and _WORD.fullmatch(w))), None)
    if wrong is not None:
        raise ValueError(
            f"{wrong!r} cannot name a role or a state: letters, digits, _ and -, a letter first"
        )
    if not row.to or START in row.to:
        raise ValueError(f"a row of {row.role} in {row.at} leads to no state, or to {START}")
    if not issubclass(row.on, (Message, Command)):
        why = f"a row is for {row.on!r}, which is neither a message nor a command"
        raise ValueError(why)  # noqa: TRY004 - as above
    if issubclass(row.on, Message) and row.on is not ProblemReport:
        _check_message(protocol, row.on)
    name = getattr(row.do, "__name__", repr(row.do))
    if not inspect.iscoroutinefunction(row.do):
        raise ValueError(f"what a row does must be an async function; {name} is not")
    try:
        inspect.signature(row.do).bind(*range(_HANDLER_TAKES))
    except TypeError:
        raise ValueError(f"{name} must take the exchange, the event and the port") from None


def _check_message(protocol: Protocol[Any], model: type[Message]) -> None:
    try:
        uri = TypeUri.parse(getattr(model, "TYPE", None))
    except BadMessageError:
        raise ValueError(f"the message {model.__name__} has no type URI in TYPE") from None
    if uri.protocol != protocol.name:
        raise ValueError(f"the message {model.__name__} is of {uri.protocol}")


def _check_names(protocol: Protocol[Any]) -> None:
    """Refuse two models of one name, of which only one would ever be read."""
    for what, known in (("messages", protocol.messages), ("commands", protocol.commands)):
        models = set[type[Any]](known.values())
        for row in protocol.rules:
            kind = Message if what == "messages" else Command
            if issubclass(row.on, kind) and row.on not in models:
                raise ValueError(f"two {what} have the name of {row.on.__name__}")


def _check_ways(protocol: Protocol[Any]) -> None:
    """Refuse rows that nothing leads to, and an event that would start two roles."""
    for role in protocol.roles:
        ways = set(_cells(protocol.ahead(role, START)))
        for row in protocol.rules:
            if row.role == role and (row.at, row.on) not in ways:
                raise ValueError(f"no row leads {role} from {START} to {row.at}")
    first: dict[type[Any], str] = {}
    for row in protocol.rules:
        if row.at == START and first.setdefault(row.on, row.role) != row.role:
            raise ValueError(f"{row.on.__name__} starts two roles")


def _cells(rows: Iterable[Rule[Any]]) -> Iterable[tuple[str, type[Any]]]:
    return ((row.at, row.on) for row in rows)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
