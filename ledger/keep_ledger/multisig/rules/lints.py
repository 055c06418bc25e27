"""What is wrong with a set of rules, and what a change of rules would change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keep_ledger.codes import TRUSTEE
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.rules.auth_rules import (
    ANY,
    VERKEY,
    Constraint,
    Forbidden,
    Or,
    Role,
    RuleKey,
    Rules,
    leaves,
    owner_counts,
    parse_constraint,
    who,
)
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.multisig.rules.quorum import CHANGE_RULES, People, Quorum, Quorums, quorums
from keep_ledger.multisig.rules.reachability import (
    CHANGE,
    ROLES,
    by_anybody,
    counts,
    signers,
    turn_key,
    within,
)
from keep_ledger.multisig.rules.rule_words import number_word, role_count

_SEPARATORS = "|,:"
_NOBODY = "nobody can "
_LISTED = 6


@dataclass(frozen=True, slots=True)
class Lint:
    """A problem in a set of rules.

    Attributes:
        rules: the rules concerned.
        grave: it makes a quorum weaker than it says, or locks somebody out; too few people for a rule
            that nobody has changed do not.
    """

    rules: tuple[RuleKey, ...]
    grave: bool
    text: str


def lints(rules: Rules, people: People) -> tuple[Lint, ...]:
    """All problems, grave ones first.

    Args:
        people: how many are on the ledger today.
    """
    found = [*_locked(quorums(rules, people)), *_twins(rules), *_recovery(rules)]
    for key, constraint in rules.items():
        found += _of_rule(key, constraint, people)
    return tuple(sorted(found, key=lambda lint: not lint.grave))


def _locked(found: Quorums) -> Iterator[Lint]:
    for name, quorum in found.items():
        if not quorum.ways:
            final = ": the rules can never be changed" if name == CHANGE_RULES else ""
            yield Lint(quorum.action.keys, grave=True, text=f"{_NOBODY}{name} any more{final}")


def _of_rule(key: RuleKey, constraint: Constraint, people: People) -> Iterator[Lint]:
    open_ = by_anybody(constraint, counts(people))
    for leaf in leaves(constraint):
        if (there := _there(leaf, people)) < leaf.sig_count:
            text = f"{role_count(leaf.sig_count, leaf.role)} must sign, there are {_few(there)}"
            grave = not open_ and constraint != DEFAULTS.get(key)
            yield Lint((key,), grave=grave, text=f"{text}: {key.description} ({key.text})")
        for grave, text in _of_leaf(key, leaf):
            yield Lint((key,), grave=grave, text=f"{text}: {key.description} ({key.text})")


def _there(leaf: Role, people: People) -> int:
    return sum(people.values()) if leaf.role == ANY else people.get(leaf.role, 0)


def _few(there: int) -> str:
    return number_word(there) if there else "none"


def _of_leaf(key: RuleKey, leaf: Role) -> Iterator[tuple[bool, str]]:
    if leaf.sig_count == 0:
        yield True, "no signature of the role is required: anybody on the ledger may do it"
    if leaf.off_ledger_signature:
        yield (
            True,
            "off-ledger signatures are not counted by signer: one key can sign as any number of DIDs",
        )
    if (
        leaf.role == ANY
        and leaf.sig_count > 1
        and key.auth_type == "1"
        and key.action == "EDIT"
    ):
        yield True, "a DID that writes itself can invent its cosigners"
    if leaf.need_to_be_owner and not owner_counts(key) and DEFAULTS.get(key) != leaf:
        yield False, "the ledger does not check the owner here"
    if leaf.metadata:
        spelled = json.dumps(leaf.metadata)
        hides = any(mark in spelled.strip("{}").replace('": ', "") for mark in _SEPARATORS)
        yield hides, _METADATA[hides]


_METADATA = {
    True: "metadata that can stand for another rule in the signing input",
    False: "metadata, which the ledger ignores",
}


def asks(constraint: Constraint, role: str) -> int | None:
    """The fewest signatures of one role that alone satisfy a constraint; None: never."""
    match constraint:
        case Role():
            meets = constraint.role in (role, ANY) and not constraint.need_to_be_owner
            return constraint.sig_count if meets or constraint.sig_count == 0 else None
        case Forbidden():
            return None
        case Or():
            return min(
                (n for n in _each(constraint.parts, role) if n is not None), default=None
            )
        case _:
            counts_ = _each(constraint.parts, role)
            return None if None in counts_ else max(n for n in counts_ if n is not None)


def _each(parts: tuple[Constraint, ...], role: str) -> list[int | None]:
    return [asks(part, role) for part in parts]


def _twins(rules: Rules) -> Iterator[Lint]:
    """Two rules by which the same can be reached: the weaker one decides."""
    for strict, others in _families():
        weaker = [lax for lax in others if _laxer(rules, lax, strict)]
        if weaker:
            lax = weaker[0]
            yield Lint(
                (strict, lax),
                grave=strict.auth_type != "102",
                text=f"to {strict.description} takes {who(rules[strict])}, but to {lax.description} only"
                f" {who(rules[lax])}, which has the same effect: the weaker rule decides",
            )


def _families() -> Iterator[tuple[RuleKey, list[RuleKey]]]:
    pairs = [CHANGE]
    for kind in ("4", "100", "102"):
        add, edit = (RuleKey(kind, action, ANY, ANY, ANY) for action in ("ADD", "EDIT"))
        pairs.append((add, edit))
    for one, other in pairs:
        yield one, [other]
        yield other, [one]
    for role in ROLES[:-1]:
        turns = [turn_key(old, role) for old in reversed(ROLES) if old != role]
        yield RuleKey("1", "ADD", "role", ANY, role or ""), turns


def _laxer(rules: Rules, lax: RuleKey, strict: RuleKey) -> bool:
    """Whether some people can do the first but not the second; unchanged default rules do not count."""
    both = (lax, strict)
    if not all(key in rules for key in both) or all(
        rules[key] == DEFAULTS.get(key) for key in both
    ):
        return False
    less, more = (signers(rules[key]) for key in both)
    return any(not any(within(each, people) for each in more) for people in less)


def _recovery(rules: Rules) -> Iterator[Lint]:
    """Whoever can give a DID a new key can sign with that DID."""
    recovery = asks(rules.get(VERKEY, Forbidden()), TRUSTEE)
    asked = [
        n for key in CHANGE if key in rules and (n := asks(rules[key], TRUSTEE)) is not None
    ]
    if recovery is not None and any(n > recovery for n in asked):
        yield Lint(
            (VERKEY, *CHANGE),
            grave=True,
            text=f"{role_count(recovery, TRUSTEE)} can give any DID a new key and so sign as everybody:"
            f" every larger quorum of trustees is worth only {number_word(recovery)}",
        )


# -- what if ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """An action whose quorum would change."""

    before: Quorum
    after: Quorum

    @property
    def weaker(self) -> bool:
        """Whether fewer people could do it."""
        now, then = self.before.size, self.after.size
        return then is not None and (now is None or then < now)


@dataclass(frozen=True, slots=True)
class Differences:
    """The effects of a change of rules.

    Attributes:
        changed: actions with another quorum.
        new: new problems.
        final: nobody could change the rules any more.
    """

    changed: tuple[Difference, ...]
    new: tuple[Lint, ...]
    final: bool

    @property
    def locked(self) -> tuple[str, ...]:
        """Actions that nobody could do any more."""
        return tuple(d.after.action.name for d in self.changed if not d.after.ways)

    @property
    def cautions(self) -> tuple[str, ...]:
        """The new problems in few sentences, the gravest first; what is alike is in one."""
        kinds: dict[str, list[str]] = {}
        for lint in self.new:
            if not lint.text.startswith(_NOBODY):
                kinds.setdefault(lint.text.partition(": ")[0], []).append(lint.text)
        found = [f"{_NOBODY}change the rules any more: this is for ever"] if self.final else []
        if locked := [name for name in self.locked if name != CHANGE_RULES]:
            found.append(f"{_NOBODY}{_listed(locked)} any more")
        few = (texts[0] for texts in kinds.values() if len(texts) == 1)
        many = (f"{what}: {len(t)} rules" for what, t in kinds.items() if len(t) > 1)
        return (*found, *few, *many)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} other things" if more > 0 else "")


def what_if(rules: Rules, change: Rules, people: People) -> Differences:
    """The effects of a change of rules, before it is signed.

    Raises:
        RefusedError: the ledger does not have one of the rules.
    """
    if unknown := change.keys() - rules.keys():
        raise RefusedError(f"the ledger has no rule {min(unknown).text}")
    then = {**rules, **change}
    before, after = quorums(rules, people), quorums(then, people)
    changed = (
        Difference(before[name], after[name])
        for name in after
        if before[name].ways != after[name].ways
        or before[name].with_owner != after[name].with_owner
    )
    old = {lint.text for lint in lints(rules, people)}
    new = tuple(lint for lint in lints(then, people) if lint.text not in old)
    return Differences(tuple(changed), new, final=not after[CHANGE_RULES].ways)


def changes(operation: Json) -> dict[RuleKey, Constraint]:
    """The rules in an AUTH_RULE or AUTH_RULES operation.

    Raises:
        RefusedError: it is neither, or malformed.
    """
    entries: object = operation.get("rules") if operation.get("type") == "122" else [operation]
    if operation.get("type") not in ("120", "122") or not isinstance(entries, list):
        raise RefusedError("this is not a change of rules")
    found: dict[RuleKey, Constraint] = {}
    for entry in entries:  # pyright: ignore[reportUnknownVariableType] - checked in the next line
        if not isinstance(entry, dict):
            raise RefusedError("a rule is not an object")
        found[RuleKey.of(entry)] = parse_constraint(entry.get("constraint"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return found


def takeover(found: Quorums) -> str:
    """Who could take over the network, in a sentence."""
    quorum = found.get(CHANGE_RULES)
    if quorum is None or not quorum.ways:
        return "Nobody can take over the network, and nobody can change its rules."
    names = " or ".join(way.who for way in quorum.ways)
    return f"The whole network can be taken over by: {names}"
