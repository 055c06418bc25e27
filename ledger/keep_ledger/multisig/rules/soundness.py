"""Whether a set of rules is sound: it locks nobody out and cannot be circumvented."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import assert_never

from keep_ledger.codes import TRUSTEE
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.rules.auth_rules import (
    RULE,
    RULES,
    VERKEY,
    And,
    Constraint,
    Forbidden,
    Or,
    Role,
    RuleKey,
    Rules,
    Signer,
    leaves,
    satisfied,
    who,
)
from keep_ledger.multisig.rules.rule_words import number_word, role_count


def enough(constraint: Constraint, members: int) -> int | None:
    """How many trustees who do not own what is changed can do it alone; None: not even all."""
    people = [Signer(f"trustee {n}", TRUSTEE) for n in range(members)]
    counts = range(1, members + 1)
    return next((n for n in counts if satisfied(constraint, people[:n])), None)


# -- what is refused -----------------------------------------------------------------------------


def check(members: int, custom: Mapping[str, Constraint], rules: Rules) -> None:
    """Refuse rules that lock everybody out or can be circumvented.

    Args:
        members: how many trustees there are.
        custom: constraints that were written by hand, by the names of rules.
        rules: all rules, as wanted.

    Raises:
        RefusedError: they do; says which and why.
    """
    for name, constraint in custom.items():
        _check_custom(name, constraint)
    for key, constraint in rules.items():
        _check_reachable(key, constraint, members)
    most = max(
        ((leaf.sig_count, key.description) for key, leaf in _trustees(rules) if key != VERKEY),
        default=(0, ""),
    )
    if RULE in rules and RULES in rules and not same(rules[RULE], rules[RULES]):
        raise RefusedError(
            f"{RULE.text} (AUTH_RULE) and {RULES.text} (AUTH_RULES) must be the same: what one"
            " forbids can be done with the other"
        )
    makers = _makers(rules)
    if any(not same(one, other) for one, other in pairwise(makers.values())):
        raise RefusedError(
            "registering a trustee and turning another DID into one must take the same: otherwise"
            f" the weaker of {', '.join(key.text for key in makers)} decides"
        )
    for key in (*makers, RULE, RULES):
        if key in rules:
            _check_gate(key, rules[key], most)
    if VERKEY in rules:
        _check_recovery(rules[VERKEY], most)


def _trustees(rules: Rules) -> Iterable[tuple[RuleKey, Role]]:
    return (
        (key, leaf)
        for key, constraint in rules.items()
        for leaf in leaves(constraint)
        if leaf.role == TRUSTEE
    )


def _check_custom(name: str, constraint: Constraint) -> None:
    for leaf in leaves(constraint):
        if leaf.off_ledger_signature:
            raise RefusedError(
                f"custom.{name}: off-ledger signatures are not counted by signer: one key can give many"
            )
        if leaf.sig_count == 0:
            raise RefusedError(f"custom.{name}: a quorum of 0 lets everybody decide")
        if leaf.metadata:
            raise RefusedError(f"custom.{name}: metadata of a rule must be empty")


def _check_reachable(key: RuleKey, constraint: Constraint, members: int) -> None:
    for leaf in leaves(constraint):
        if leaf.role == TRUSTEE and leaf.sig_count > members:
            raise RefusedError(
                f"to {key.description} would take {role_count(leaf.sig_count, TRUSTEE)}, and the file"
                f" has {number_word(members)}: nobody could ever do it or change it back"
            )


def _makers(rules: Rules) -> dict[RuleKey, Constraint]:
    """The rules by which somebody becomes a trustee."""
    return {
        key: constraint
        for key, constraint in rules.items()
        if key.auth_type == "1" and key.new == TRUSTEE and key.old != TRUSTEE
    }


def _check_gate(key: RuleKey, constraint: Constraint, most: tuple[int, str]) -> None:
    """Check a rule whose writes allow everything else."""
    if isinstance(constraint, Forbidden):
        if key in (RULE, RULES):
            raise RefusedError(f"{key.text}: nobody could ever change a rule again")
        return
    if any(leaf.role != TRUSTEE for leaf in leaves(constraint)):
        raise RefusedError(
            f"{key.text}: others than trustees could {key.description}, and thereby do everything"
        )
    _check_enough(f"to {key.description}", constraint, most)


def _check_enough(what: str, constraint: Constraint, most: tuple[int, str]) -> None:
    count = enough(constraint, most[0])
    if count is not None and count < most[0]:
        raise RefusedError(
            f"{what} would take {role_count(count, TRUSTEE)}, and to {most[1]} {number_word(most[0])}: whoever"
            " can do the first can do the second, so the lower number would be the quorum of both"
        )


def _check_recovery(constraint: Constraint, most: tuple[int, str]) -> None:
    parts = constraint.parts if isinstance(constraint, Or) else (constraint,)
    for part in parts:
        if isinstance(part, Role) and part.need_to_be_owner and part.sig_count:
            continue
        if any(leaf.role != TRUSTEE for leaf in leaves(part)):
            raise RefusedError(
                f"{VERKEY.text}: others than trustees could take over a trustee's DID"
            )
        _check_enough("recovery (a new key for somebody's DID)", part, most)


# -- what is left to others ----------------------------------------------------------------------


def others(rules: Rules) -> dict[str, list[str]]:
    """What others may do without trustees, although trustees may do it, too: actions by who may do them."""
    found: dict[str, list[str]] = {}
    for key, constraint in rules.items():
        parts = constraint.parts if isinstance(constraint, Or) else ()
        free = [part for part in parts if all(leaf.role != TRUSTEE for leaf in leaves(part))]
        if free and len(free) < len(parts):
            found.setdefault(who(Or(tuple(free))), []).append(key.description)
    return found


def same(left: Constraint, right: Constraint) -> bool:
    """Whether two constraints mean the same.

    `AND` with one part is that part, the order of parts does not matter, and a ledger adds members that
    were left out.
    """
    return _meaning(left) == _meaning(right)


def _meaning(constraint: Constraint) -> str:
    match constraint:
        case Role():
            return repr(
                replace(constraint, off_ledger_signature=bool(constraint.off_ledger_signature))
            )
        case And() | Or():
            parts = sorted({_meaning(part) for part in constraint.parts})
            return parts[0] if len(parts) == 1 else f"{type(constraint).__name__}{parts}"
        case Forbidden():
            return "Forbidden"
        case _:
            assert_never(constraint)
