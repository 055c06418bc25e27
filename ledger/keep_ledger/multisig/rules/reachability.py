"""What a coalition can reach under a set of rules, by all moves that the rules allow.

People are counted by role; a coalition has a count for each role. Its moves are:

- register any number of DIDs of its own, with any role that it may register;
- change the role of a DID that it controls;
- give everybody else's DIDs new keys, if the rule for keys allows others than the owner;
- change the rules, which allows everything.

Moves only add possibilities, except a change of role, which uses up a DID. So the other moves are made
at once, and changes of role are tried in every order.

Three facts about ledgers that no rule states (indy-node `client_authn`): a DID that is not on the ledger
may write itself if `sig_count` is 0 or the signature may be off-ledger; a DID that writes itself and names
a key can be co-signed with that key by any number of invented DIDs, which all count for `*`; and these
count for nothing else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import product
from typing import assert_never

from keep_ledger.codes import ENDORSER, ROLE_NAMES
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.rules.auth_rules import (
    ANY,
    PRIVILEGED,
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
    leaves,
)
from keep_ledger.multisig.rules.rule_words import role_noun, with_article

ROLES = (*ROLE_NAMES, None)
MANY = 10**9
"""Any number."""

_BEYOND = MANY // 10
"""More than any number of people, and less than MANY."""

Counts = tuple[int, ...]
"""People by role, in the order of `ROLES`."""

NOBODY: Counts = (0, 0, 0, 0, 0)
CHANGE = (RULE, RULES)
_PLACE = {role: place for place, role in enumerate(ROLES)}
_ENDORSER = _PLACE[ENDORSER]
_PLAIN = tuple(role not in PRIVILEGED for role in ROLES)


def counts(people: Mapping[str | None, int]) -> Counts:
    """Counts in the order of `ROLES`; a role that is not named counts 0."""
    return tuple(people.get(role, 0) for role in ROLES)


def one(role: str | None) -> Counts:
    """A single person."""
    return counts({role: 1})


def plus(left: Counts, right: Counts) -> Counts:
    """The sum."""
    return tuple(x + y for x, y in zip(left, right, strict=True))


def within(small: Counts, large: Counts) -> bool:
    """Whether the large coalition contains the small one."""
    return all(x <= y for x, y in zip(small, large, strict=True))


# -- one request ---------------------------------------------------------------------------------


def _holds(constraint: Constraint, own: Counts, *, owner: bool, invented: bool) -> bool:
    """Whether signers can satisfy it; all are on the ledger, except invented ones."""
    match constraint:
        case Role():
            if constraint.need_to_be_owner and not owner:
                return False
            if constraint.role == ANY:
                return invented or sum(own) >= constraint.sig_count
            return own[_PLACE[constraint.role]] >= constraint.sig_count
        case And():
            parts = constraint.parts
            return all(_holds(p, own, owner=owner, invented=invented) for p in parts)
        case Or():
            parts = constraint.parts
            return any(_holds(p, own, owner=owner, invented=invented) for p in parts)
        case Forbidden():
            return False
        case _:
            assert_never(constraint)


def by_anybody(constraint: Constraint, own: Counts) -> bool:
    """Whether a coalition satisfies a constraint where there is no owner, or every author counts as one."""
    return any(own) and _holds(constraint, own, owner=True, invented=False)


def by_others(constraint: Constraint, own: Counts) -> bool:
    """Whether a coalition without the owner satisfies a constraint."""
    return any(own) and _holds(constraint, own, owner=False, invented=False)


def by_owner(
    constraint: Constraint, own: Counts, role: str | None, *, invented: bool = False
) -> bool:
    """Whether a coalition with the owner, who is the author and has this role, satisfies a constraint.

    An owner without a role whose write is signed by somebody with a role also needs an endorser.
    """
    if role not in PRIVILEGED and not own[_ENDORSER]:
        own = tuple(n * plain for n, plain in zip(own, _PLAIN, strict=True))
    return _holds(constraint, own, owner=True, invented=invented)


def by_itself(constraint: Constraint) -> bool:
    """Whether a DID that is not on the ledger satisfies a constraint with its own key alone."""
    match constraint:
        case Role():
            return constraint.sig_count == 0 or bool(constraint.off_ledger_signature)
        case And():
            return all(map(by_itself, constraint.parts))
        case Or():
            return any(map(by_itself, constraint.parts))
        case Forbidden():
            return False
        case _:
            assert_never(constraint)


# -- moves -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Position:
    """What a coalition controls.

    Attributes:
        own: DIDs that it can sign for, by role.
        others: the DIDs of everybody else.
        rules: whether it can change the rules.
    """

    own: Counts
    others: Counts
    rules: bool = False


Question = Callable[[Position], bool]
"""Whether an action is possible in a position; more people never make it impossible."""


@dataclass(frozen=True)
class Game:
    """The rules, the people, and the moves that are possible.

    Attributes:
        have: the people on the ledger.
        patience: the most positions that are tried in total; ordinary rules take hundreds.
    """

    rules: Rules
    have: Counts
    patience: int = 5_000

    def __post_init__(self) -> None:
        """Mark constraints that require more signatures of any role than there are people.

        Only newly registered DIDs satisfy them; but `_ample` counts a person twice after a change of role.
        """
        everybody = sum(self.have)
        kept = {
            key: _for_so_many(constraint, everybody) for key, constraint in self.rules.items()
        }
        object.__setattr__(self, "rules", kept)

    @cached_property
    def most(self) -> int:
        """This many people of one role are as good as any larger number.

        A plan needs at most the largest number of signatures required of each role at a time, and a
        DID that has left a role has another one; so a coalition with the sum of these never runs out.
        What requires more than all people can only be satisfied by newly registered DIDs.
        """
        everybody = sum(self.have)
        asked: dict[str | None, int] = {}
        for leaf in (leaf for c in self.rules.values() for leaf in leaves(c)):
            if leaf.sig_count <= everybody:
                asked[leaf.role] = max(asked.get(leaf.role, 0), leaf.sig_count)
        return max(sum(asked.values()), 1)

    def start(self, coalition: Counts) -> Position:
        """The position before the first move."""
        left = (x - y for x, y in zip(self.have, coalition, strict=True))
        return Position(self._ample(coalition), self._ample(tuple(max(n, 0) for n in left)))

    def _ample(self, own: Counts) -> Counts:
        """Replace every count that is large enough by the same number."""
        ample = max(self.most, sum(self.have))
        return tuple(n if n < self.most else MANY if n >= MANY else ample for n in own)

    @cached_property
    def verkey(self) -> Constraint:
        """The constraint on giving a DID another key."""
        return self.rules.get(VERKEY, Forbidden())

    @cached_property
    def _change(self) -> tuple[Constraint, ...]:
        return tuple(self.rules[key] for key in CHANGE if key in self.rules)

    @cached_property
    def _register(self) -> tuple[tuple[int, Constraint], ...]:
        keys = enumerate(RuleKey("1", "ADD", "role", ANY, role or "") for role in ROLES)
        return tuple((place, self.rules[key]) for place, key in keys if key in self.rules)

    @cached_property
    def _turn(self) -> tuple[tuple[int, int, Constraint], ...]:
        pairs = ((f, t) for f, t in product(range(len(ROLES)), repeat=2) if f != t)
        keyed = ((f, t, turn_key(ROLES[f], ROLES[t])) for f, t in pairs)
        return tuple((f, t, self.rules[key]) for f, t, key in keyed if key in self.rules)

    def moves(self, at: Position) -> Iterator[tuple[str, Position]]:
        """All moves from a position, with their words."""
        yield from self._gains(at)
        for f, t, after in self._turns(at):
            words = f"turn {with_article(role_noun(ROLES[f]))} of theirs into {with_article(role_noun(ROLES[t]))}"
            yield words, after

    def _gains(self, at: Position) -> Iterator[tuple[str, Position]]:
        """Moves that use up nothing."""
        if not at.rules and any(by_anybody(rule, at.own) for rule in self._change):
            yield "change the rules", replace(at, rules=True)
        if any(at.others) and by_others(self.verkey, at.own):
            everybody = self._ample(plus(at.own, at.others))
            words = "give the DIDs of others new keys and sign for them"
            yield words, Position(everybody, NOBODY, at.rules)
        for place, rule in self._register:
            if at.own[place] < MANY and (by_itself(rule) or by_anybody(rule, at.own)):
                grown = (*at.own[:place], MANY, *at.own[place + 1 :])
                yield f"register {_own(ROLES[place])}", replace(at, own=grown)

    def _turns(self, at: Position) -> Iterator[tuple[int, int, Position]]:
        """Changes of role of a DID that the coalition controls: from, to, and the position after."""
        own = at.own
        for f, t, rule in self._turn:
            worth = own[t] < (MANY if own[f] >= MANY else self.most)
            if worth and own[f] and self._may_turn(rule, own, ROLES[f]):
                yield f, t, replace(at, own=self._turned(own, f, t))

    def _turned(self, own: Counts, f: int, t: int) -> Counts:
        changed = list(own)
        if own[f] >= self.most:
            changed[t] = own[f]
        else:
            changed[f] -= 1
            changed[t] += 1
        return self._ample(tuple(changed))

    def _may_turn(self, rule: Constraint, own: Counts, role: str | None) -> bool:
        if by_others(rule, own) or by_owner(rule, own, role):
            return True
        return self.may_with_key(rule, own, role)

    def may_with_key(self, rule: Constraint, own: Counts, role: str | None) -> bool:
        """Whether a DID may write itself and name a key, so that invented DIDs count for `*`."""
        both = (self.verkey, rule)
        return all(by_owner(each, own, role, invented=True) for each in both)

    @cached_property
    def _looks(self) -> Iterator[int]:
        return iter(range(self.patience))

    def _look(self) -> None:
        """Count a position that is tried.

        Raises:
            RefusedError: there are too many.
        """
        if next(self._looks, None) is None:
            raise RefusedError(
                "these rules allow so many ways to change roles that they cannot all be tried:"
                " check the rules for turning one role into another first"
            )

    def answers(self, start: Position, questions: Sequence[Question]) -> frozenset[int]:
        """The indexes of the questions that have the answer yes after some number of moves."""
        found = set[int]()
        for at, _ in self._reached(self._grown(start), self._turned_and_grown):
            found.update(i for i, ask in enumerate(questions) if i not in found and ask(at))
            if len(found) == len(questions):
                break
        return frozenset(found)

    def _turned_and_grown(self, at: Position) -> Iterator[tuple[str, Position]]:
        return (("", self._grown(after)) for _, _, after in self._turns(at))

    def _reached(
        self, start: Position, moves: Callable[[Position], Iterator[tuple[str, Position]]]
    ) -> Iterator[tuple[Position, tuple[str, ...]]]:
        """Every position that moves lead to, with the fewest moves to it, nearest first."""
        paths: dict[Position, tuple[str, ...]] = {start: ()}
        queue = deque([start])
        while queue:
            at = queue.popleft()
            self._look()
            yield at, paths[at]
            for words, after in moves(at):
                if after not in paths:
                    paths[after] = (*paths[at], words)
                    queue.append(after)

    def _grown(self, at: Position) -> Position:
        """The position after all moves that use up nothing."""
        after = self._gain(at)
        while after is not None and not at.rules:
            at, after = after, self._gain(after)
        return at

    def _gain(self, at: Position) -> Position | None:
        for _, after in self._gains(at):
            return after
        for f, _, after in self._turns(at):
            if at.own[f] >= self.most:
                return after
        return None

    def ways(
        self, start: Position, questions: Sequence[Question]
    ) -> dict[int, tuple[str, ...]]:
        """The fewest moves to a yes for each question, in words; questions without a yes are left out."""
        found = dict[int, tuple[str, ...]]()
        for at, path in self._reached(start, self.moves):
            for i, ask in enumerate(questions):
                if i not in found and ask(at):
                    found[i] = path
            if len(found) == len(questions):
                break
        return found

    def smallest(
        self, questions: Sequence[Question], beside: Counts, *, without_moves: bool = False
    ) -> list[list[Counts]]:
        """All smallest coalitions for each question.

        Args:
            beside: people who take part in any case, and are not counted.
            without_moves: whether moves are left out.
        """
        room = tuple(
            min(max(x - y, 0), self.most) for x, y in zip(self.have, beside, strict=True)
        )

        @cache
        def yes(people: Counts) -> frozenset[int]:
            start = self.start(plus(people, beside))
            if without_moves:
                return frozenset(i for i, ask in enumerate(questions) if ask(start))
            return self.answers(start, questions)

        return [_smallest(partial(_among, yes, i), room) for i in range(len(questions))]


def signers(constraint: Constraint) -> list[Counts]:
    """The smallest coalitions that satisfy a constraint in one request, with the owner as author."""
    most = max((leaf.sig_count for leaf in leaves(constraint)), default=0)
    return _smallest(partial(by_anybody, constraint), (max(most, 1),) * len(ROLES))


def _for_so_many(constraint: Constraint, everybody: int) -> Constraint:
    match constraint:
        case Role(role=role, sig_count=count):
            beyond = role == ANY and count > everybody
            return replace(constraint, sig_count=_BEYOND) if beyond else constraint
        case And():
            return And(tuple(_for_so_many(part, everybody) for part in constraint.parts))
        case Or():
            return Or(tuple(_for_so_many(part, everybody) for part in constraint.parts))
        case Forbidden():
            return constraint
        case _:
            assert_never(constraint)


def _among(yes: Callable[[Counts], frozenset[int]], number: int, people: Counts) -> bool:
    return number in yes(people)


def _smallest(can: Callable[[Counts], bool], room: Counts) -> list[Counts]:
    """All smallest coalitions that can do something, if a larger one always can what a smaller one can.

    The space that is still to be searched is stored as parts, each by its largest coalition. If that one
    cannot do it, nobody in the part can. If it can, it is reduced to a smallest coalition, and everything
    that contains this one is removed from all parts.
    """
    found, parts = list[Counts](), {room}
    while parts:
        largest = parts.pop()
        if not can(largest):
            continue
        least = _shrunk(can, largest)
        found.append(least)
        parts = {cut for part in (*parts, largest) for cut in _cut(part, least)}
    return found


def _shrunk(can: Callable[[Counts], bool], people: Counts) -> Counts:
    for place, there in enumerate(people):
        head, tail = people[:place], people[place + 1 :]
        with_so_many = partial(_with_so_many, can, head, tail)
        people = (*head, bisect_left(range(there), 1, key=with_so_many), *tail)
    return people


def _with_so_many(can: Callable[[Counts], bool], head: Counts, tail: Counts, n: int) -> bool:
    return can((*head, n, *tail))


def _cut(part: Counts, least: Counts) -> Iterator[Counts]:
    """The parts of a part whose coalitions do not contain `least`."""
    if not within(least, part):
        yield part
        return
    for place, n in enumerate(least):
        if n:
            yield (*part[:place], n - 1, *part[place + 1 :])


def turn_key(old: str | None, new: str | None) -> RuleKey:
    """The rule about a change of role."""
    return RuleKey("1", "EDIT", "role", old or "", new or "")


def _own(role: str | None) -> str:
    return f"{role_noun(role)}s of their own" if role else "DIDs of their own"
