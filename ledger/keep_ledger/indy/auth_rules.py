"""The auth rules of a ledger, read one by one so that each comes with its proof."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic import ConfigDict, TypeAdapter, ValidationError

from keep_ledger.codes import CONFIG
from keep_ledger.errors import LedgerUnavailableError
from keep_ledger.indy.pool import Pool
from keep_ledger.indy.replies import UntrustedReplyError
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.rules.auth_rules import Constraint, RuleKey, parse_constraint
from keep_ledger.multisig.rules.default_rules import DEFAULTS

Progress = Callable[[int, int], None]

GET_AUTH_RULE = "121"
_AT_ONCE = 8
_ENTRIES = TypeAdapter[list[Json]](list[Json], config=ConfigDict(strict=True))


class NoSuchRuleError(LedgerUnavailableError):
    """The network has no such auth rule, or its nodes hide it."""


async def read_rules(pool: Pool, progress: Progress | None) -> dict[RuleKey, Constraint]:
    """Read all rules that are in force.

    The answer about all rules at once has no proof; it is used only to find rules that we do not
    know. The known ones are read in any case, so that none can be hidden.

    Args:
        progress: called with how many have been read, and how many there are.

    Raises:
        LedgerUnavailableError: no trustworthy answer to one of the questions.
        RefusedError: a rule cannot be read.
    """
    named = _keys(await pool.hint({"type": GET_AUTH_RULE}))
    keys = sorted(named | DEFAULTS.keys())
    gate, found = asyncio.Semaphore(_AT_ONCE), dict[RuleKey, Constraint]()
    done = 0

    async def read(key: RuleKey) -> None:
        nonlocal done
        async with gate:
            constraint = await _read_if_there(pool, key, named)
        if constraint is not None:
            found[key] = constraint
        done += 1
        if progress is not None:
            progress(done, len(keys))

    try:
        async with asyncio.TaskGroup() as tasks:
            for key in keys:
                tasks.create_task(read(key))
    except* (LedgerUnavailableError, RefusedError) as group:
        raise group.exceptions[0] from group
    return {key: found[key] for key in keys if key in found}


async def read_rule(pool: Pool, key: RuleKey) -> Constraint:
    """Read one rule, with a fresh proof, or as f + 1 nodes agree (a rule that was never written).

    Raises:
        NoSuchRuleError: the nodes say that there is none.
        LedgerUnavailableError: there is no such answer.
        RefusedError: the rule cannot be read.
    """
    try:
        reply = await pool.ask({"type": GET_AUTH_RULE} | key.to_json(), CONFIG)
    except LedgerUnavailableError as error:
        if "Unknown authorization rule" in str(error):
            raise NoSuchRuleError(f"the network has no auth rule {key.text}") from error
        raise
    if any(reply.get(name) != value for name, value in key.to_json().items()):
        raise UntrustedReplyError("a node answered for another auth rule")
    entries = _entries(reply)
    if len(entries) != 1 or RuleKey.of(entries[0]) != key:
        raise UntrustedReplyError("a node answered with other auth rules than were asked for")
    return parse_constraint(entries[0].get("constraint"))


async def _read_if_there(pool: Pool, key: RuleKey, named: set[RuleKey]) -> Constraint | None:
    """Return None for a rule that older nodes do not have: they neither name it nor answer."""
    try:
        return await read_rule(pool, key)
    except NoSuchRuleError:
        if key in named:
            raise
        return None


def _keys(reply: Json) -> set[RuleKey]:
    return {RuleKey.of(entry) for entry in _entries(reply)}


def _entries(reply: Json) -> list[Json]:
    try:
        return _ENTRIES.validate_python(reply.get("data"))
    except ValidationError as error:
        raise UntrustedReplyError("a node answered without a list of auth rules") from error
