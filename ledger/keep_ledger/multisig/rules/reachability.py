"""What people can bring about under a set of rules, by all moves that the rules leave open.

People are counted by role; a coalition is a count for each. From what it holds it can move:

- register DIDs of its own, with any role that it may register, as many as it likes;
- turn a DID that it holds into one of another role;
- give everybody else's DIDs new keys, where the rule for a key is not left to its owner;
- change the rules, which is everything.

Moves only ever add to what is possible, but for a change of role, which uses up a DID. So the first
kinds are made at once and changes of role are tried in every order.

Three things that a ledger does and no rule says (indy-node `client_authn`): a DID that is not
there may write itself where `sig_count` is 0 or the signature may be off-ledger; a DID that writes
itself and names a key can be co-signed with that key by any number of invented DIDs, all of which
count for `*`; and these count for nothing else.
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
"""As many as one likes."""

_PUPPETS = MANY // 10
"""More than any number of people, and fewer than as many as one likes."""

Counts = tuple[int, ...]
"""People by role, in the order of `ROLES`."""

NOBODY: Counts = (0, 0, 0, 0, 0)
CHANGE = (RULE, RULES)
_PLACE = {role: place for place, role in enumerate(ROLES)}
_ENDORSER = _PLACE[ENDORSER]
_PLAIN = tuple(role not in PRIVILEGED for role in ROLES)


def counts(people: Mapping[str | None, int]) -> Counts:
    """Counts in order; who is not named is not there."""
    return tuple(people.get(role, 0) for role in ROLES)


def one(role: str | None) -> Counts:
    """A single person."""
    return counts({role: 1})


def plus(left: Counts, right: Counts) -> Counts:
    """Both together."""
    return tuple(x + y for x, y in zip(left, right, strict=True))


def within(small: Counts, large: Counts) -> bool:
    """Whether the large coalition has everybody that the small one has."""
    return all(x <= y for x, y in zip(small, large, strict=True))


# -- one request ---------------------------------------------------------------------------------


def _holds(constraint: Constraint, own: Counts, *, owner: bool, invented: bool) -> bool:
    """Whether signers can meet it, all of whom are on the ledger but those that are invented."""
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
    """Where there is no owner, or every author counts as one."""
    return any(own) and _holds(constraint, own, owner=True, invented=False)


def by_others(constraint: Constraint, own: Counts) -> bool:
    """For something of which nobody among them is the owner."""
    return any(own) and _holds(constraint, own, owner=False, invented=False)


def by_owner(
    constraint: Constraint, own: Counts, role: str | None, *, invented: bool = False
) -> bool:
    """With the owner as author, who is one of them and has this role.

    Whoever has no role and is helped by somebody with one needs an endorser's signature as well.
    """
    if role not in PRIVILEGED and not own[_ENDORSER]:
        own = tuple(n * plain for n, plain in zip(own, _PLAIN, strict=True))
    return _holds(constraint, own, owner=True, invented=invented)


def by_itself(constraint: Constraint) -> bool:
    """For a DID that is not there, written with its own key: nobody of today is needed."""
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
    """Where a coalition stands.

    Attributes:
        own: DIDs that it signs for, by role.
        others: those of everybody else.
        rules: it has the rules in its hands.
    """

    own: Counts
    others: Counts
    rules: bool = False


Question = Callable[[Position], bool]
"""Whether something can be brought about where a coalition stands; more people never do harm."""


@dataclass(frozen=True)
class Game:
    """The rules, and who is there.

    Attributes:
        have: who is there.
        patience: how many positions are looked at, all in all; rules of good faith take hundreds.
    """

    rules: Rules
    have: Counts
    patience: int = 5_000

    def __post_init__(self) -> None:
        """Take what asks for more signatures of any role than there are people as what it is.

        Only DIDs registered at will meet it; but `_ample` counts people who turned twice.
        """
        everybody = sum(self.have)
        kept = {
            key: _for_so_many(constraint, everybody) for key, constraint in self.rules.items()
        }
        object.__setattr__(self, "rules", kept)

    @cached_property
    def most(self) -> int:
        """So many people of one role are as good as any number of those who are there.

        A plan needs at most the largest number of signatures asked of each role at a time, and a
        DID that has left a role stands in another one; so whoever has all of these together never
        runs out. What asks for more than all people can only be met by DIDs registered at will.
        """
        everybody = sum(self.have)
        asked: dict[str | None, int] = {}
        for leaf in (leaf for c in self.rules.values() for leaf in leaves(c)):
            if leaf.sig_count <= everybody:
                asked[leaf.role] = max(asked.get(leaf.role, 0), leaf.sig_count)
        return max(sum(asked.values()), 1)

    def start(self, coalition: Counts) -> Position:
        """Before the first move."""
        left = (x - y for x, y in zip(self.have, coalition, strict=True))
        return Position(self._ample(coalition), self._ample(tuple(max(n, 0) for n in left)))

    def _ample(self, own: Counts) -> Counts:
        """One number for all that is as good as any."""
        ample = max(self.most, sum(self.have))
        return tuple(n if n < self.most else MANY if n >= MANY else ample for n in own)

    @cached_property
    def verkey(self) -> Constraint:
        """The rule for another key of a DID."""
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
        """Everything that can be done in one step, in words."""
        yield from self._gains(at)
        for f, t, after in self._turns(at):
            words = f"turn {with_article(role_noun(ROLES[f]))} of theirs into {with_article(role_noun(ROLES[t]))}"
            yield words, after

    def _gains(self, at: Position) -> Iterator[tuple[str, Position]]:
        """Steps that cost nothing."""
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
        """Changes of role of a DID that they hold: from, to, and after."""
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
        """Whether a DID may write itself with a key named, so that invented DIDs count for `*`."""
        both = (self.verkey, rule)
        return all(by_owner(each, own, role, invented=True) for each in both)

    @cached_property
    def _looks(self) -> Iterator[int]:
        return iter(range(self.patience))

    def _look(self) -> None:
        """Count a position.

        Raises:
            RefusedError: there are too many.
        """
        if next(self._looks, None) is None:
            raise RefusedError(
                "these rules leave open so many ways to change roles that they cannot all be"
                " tried: look first at the rules for turning one role into another"
            )

    def answers(self, start: Position, questions: Sequence[Question]) -> frozenset[int]:
        """Which of the questions a coalition can answer with yes, by any number of moves."""
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
        """After all steps that cost nothing."""
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
        """The fewest moves to a yes for each question, in words; who gets no yes is left out."""
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
        """For each question all coalitions of which nobody can be missed.

        Args:
            beside: who takes part in any case, and is not counted.
            without_moves: nobody moves.
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
    """Who meets a constraint in one request, the author being the owner if there is one."""
    most = max((leaf.sig_count for leaf in leaves(constraint)), default=0)
    return _smallest(partial(by_anybody, constraint), (max(most, 1),) * len(ROLES))


def _for_so_many(constraint: Constraint, everybody: int) -> Constraint:
    match constraint:
        case Role(role=role, sig_count=count):
            beyond = role == ANY and count > everybody
            return replace(constraint, sig_count=_PUPPETS) if beyond else constraint
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
    """All smallest coalitions that can, where a larger one always can what a smaller one can.

    What is not yet looked through is kept as the largest coalitions of its parts: if such a one
    cannot, nobody in that part can; if it can, it is shrunk to a smallest one, and what holds that
    one is cut off everywhere.
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
    """The parts of a part in which nobody holds `least`."""
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
