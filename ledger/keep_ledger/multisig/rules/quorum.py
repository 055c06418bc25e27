"""The effective quorum: the smallest coalitions that can bring about an action, directly or indirectly.

What a rule requires is not what an action takes. A rule may require two trustees, and one may be able to
register the second; a rule may be strict, and the rule about rules weak; whoever can give a DID a new key
can sign with it. So every move is tried (`reachability`), and the result says which way was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from keep_ledger.codes import ENDORSER, STEWARD
from keep_ledger.multisig.rules.auth_rules import (
    VERKEY,
    Constraint,
    RuleKey,
    Rules,
    owner_counts,
)
from keep_ledger.multisig.rules.reachability import (
    CHANGE,
    NOBODY,
    ROLES,
    Counts,
    Game,
    Position,
    Question,
    by_anybody,
    by_itself,
    by_others,
    by_owner,
    counts,
    one,
    plus,
)
from keep_ledger.multisig.rules.rule_words import role_count

People = Mapping[str | None, int]
"""How many DIDs have each role; None: no role."""

CHANGE_RULES = "change the rules"


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done on a ledger.

    Attributes:
        name: what is done, as a phrase after `can`.
        topic: its heading.
        keys: rules, any one of which is enough: the weakest decides.
        owned: whether what is changed has an owner.
        owner: the role of that owner.
    """

    name: str
    topic: str
    keys: tuple[RuleKey, ...]
    owned: bool = False
    owner: str | None = None


def _key(text: str) -> RuleKey:
    return RuleKey.parse(text)


def _all(name: str, topic: str, *texts: str) -> Action:
    return Action(name, topic, tuple(map(_key, texts)))


def _owned(name: str, topic: str, owner: str | None, *texts: str) -> Action:
    return Action(name, topic, tuple(map(_key, texts)), owned=True, owner=owner)


def _actions() -> Iterable[Action]:
    yield Action(CHANGE_RULES, "The rules", CHANGE)
    for role in ROLES:
        key = _key(f"1--ADD--role--*--{role or ''}")
        yield Action(key.description, "DIDs", (key,))
    yield _owned("give somebody's DID another key", "DIDs", None, VERKEY.text)
    yield _owned(
        "write an attribute of somebody's DID",
        "DIDs",
        None,
        "100--ADD--*--*--*",
        "100--EDIT--*--*--*",
    )
    yield from _role_changes()
    yield _all("write a schema", "Credentials", "101--ADD--*--*--*")
    yield _owned("change somebody's schema", "Credentials", ENDORSER, "101--EDIT--*--*--*")
    yield _all("write a credential definition", "Credentials", "102--ADD--*--*--*")
    yield _owned(
        "change somebody's credential definition", "Credentials", ENDORSER, "102--EDIT--*--*--*"
    )
    yield _all("write a revocation registry", "Credentials", "113--ADD--*--*--*")
    yield _owned(
        "change somebody's revocation registry", "Credentials", ENDORSER, "113--EDIT--*--*--*"
    )
    yield _owned(
        "revoke somebody's credentials",
        "Credentials",
        ENDORSER,
        "114--ADD--*--*--*",
        "114--EDIT--*--*--*",
    )
    yield _all(
        "write rich schemas and what belongs to them",
        "Credentials",
        *(f"{n}--ADD--*--*--*" for n in range(200, 206)),
    )
    yield _owned(
        "change somebody's rich schemas",
        "Credentials",
        ENDORSER,
        *(f"{n}--EDIT--*--*--*" for n in range(200, 206)),
    )
    yield _all("add a node", "Nodes", "0--ADD--services--*--['VALIDATOR']")
    yield _all("add a node that does not take part yet", "Nodes", "0--ADD--services--*--[]")
    yield _owned(
        "take somebody's node out of the consensus",
        "Nodes",
        STEWARD,
        "0--EDIT--services--['VALIDATOR']--[]",
    )
    yield _owned(
        "take somebody's node into the consensus",
        "Nodes",
        STEWARD,
        "0--EDIT--services--[]--['VALIDATOR']",
    )
    addresses = (
        f"0--EDIT--{name}--*--*"
        for name in ("node_ip", "node_port", "client_ip", "client_port")
    )
    yield _owned("change the addresses of somebody's node", "Nodes", STEWARD, *addresses)
    yield _owned(
        "change the BLS key of somebody's node", "Nodes", STEWARD, "0--EDIT--blskey--*--*"
    )
    for text in ("4--ADD--*--*--*", "4--EDIT--*--*--*", "5--ADD--*--*--*", "8--ADD--*--*--*"):
        yield Action(_key(text).description, "Author agreement", (_key(text),))
    for text in (
        "109--ADD--action--*--start",
        "109--EDIT--action--start--cancel",
        "111--EDIT--action--*--*",
        "118--ADD--action--*--*",
        "119--ADD--*--*--*",
        "9--EDIT--*--*--*",
        "130--EDIT--*--*--*",
    ):
        yield Action(_key(text).description, "Running the network", (_key(text),))


def _role_changes() -> Iterable[Action]:
    for old in ROLES:
        for new in ROLES:
            key = _key(f"1--EDIT--role--{old or ''}--{new or ''}")
            name = key.description if old != new else f"{key.description}, for its owner"
            yield Action(name, "Changes of role", (key,), owned=True, owner=old)


ACTIONS: tuple[Action, ...] = tuple(_actions())
"""All actions; every rule belongs to one of them."""


@dataclass(frozen=True, slots=True)
class Way:
    """A smallest coalition, and its moves before the action.

    Attributes:
        people: by role, in the order of `ROLES`.
        moves: in words; empty if it simply signs.
    """

    people: Counts
    moves: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many people."""
        return sum(self.people)

    @property
    def who(self) -> str:
        """`two trustees and one steward`."""
        there = [role_count(n, role) for n, role in zip(self.people, ROLES, strict=True) if n]
        return " and ".join(there) or "anybody, even without a DID on the ledger"

    @property
    def path(self) -> str:
        """`first change the rules`; empty if they simply sign."""
        return f"first {', then '.join(self.moves)}" if self.moves else ""


@dataclass(frozen=True, slots=True)
class Quorum:
    """The effective quorum of an action.

    Attributes:
        ways: all smallest coalitions without the owner of what is changed; fewest people first. Empty:
            nobody can do it, and nobody can change that.
        with_owner: whom the owner needs in addition; None where there is no owner.
        asked: the fewest people who can do it without other moves; None: nobody.
    """

    action: Action
    ways: tuple[Way, ...]
    with_owner: tuple[Way, ...] | None
    asked: int | None

    @property
    def size(self) -> int | None:
        """The fewest people, None if nobody can."""
        return self.ways[0].size if self.ways else None

    @property
    def weaker(self) -> bool:
        """Whether fewer people can bring it about than the rule requires."""
        return self.size is not None and (self.asked is None or self.size < self.asked)

    @property
    def sentence(self) -> str:
        """`Two trustees can register a steward (first change the rules).`."""
        if not self.ways:
            return f"Nobody can {self.action.name}, and nobody can change that."
        way = self.ways[0]
        others = "".join(f", or {other.who}" for other in self.ways[1:])
        how = f" ({way.path})" if way.moves else ""
        return f"{way.who[:1].upper()}{way.who[1:]}{others} can {self.action.name}{how}."


Quorums = dict[str, Quorum]
"""By the name of the action."""


def quorums(rules: Rules, people: People) -> Quorums:
    """The effective quorum of every action that the ledger has rules for.

    Args:
        rules: all rules in force (`keep_ledger.indy.auth_rules.read_rules`).
        people: how many are on the ledger today. For DIDs without a role a number larger than the
            signatures in any rule is enough.
    """
    game = Game(rules, counts(people))
    actions = [action for action in ACTIONS if any(key in rules for key in action.keys)]
    found = _ways(game, [partial(_without_owner, game, action) for action in actions], NOBODY)
    owned = _with_owners(game, [action for action in actions if action.owned])
    asked = _asked(game, actions)
    return {
        action.name: Quorum(
            action,
            _with_new_key(game, action, ways),
            owned.get(action.name),
            asked[action.name],
        )
        for action, ways in zip(actions, found, strict=True)
    }


def _with_new_key(game: Game, action: Action, ways: tuple[Way, ...]) -> tuple[Way, ...]:
    """Add a step that is not a move: giving the owner of just this object a new key."""

    def extended(way: Way) -> Way:
        open_ = way.moves or _without_owner(
            game, action, game.start(way.people), without_moves=True
        )
        return way if open_ else replace(way, moves=("give the owner a new key",))

    return tuple(map(extended, ways)) if action.owned else ways


def _with_owners(game: Game, actions: list[Action]) -> dict[str, tuple[Way, ...]]:
    found: dict[str, tuple[Way, ...]] = {}
    for role in ROLES:
        those = [action for action in actions if action.owner == role]
        questions = [partial(_with_owner, game, action) for action in those]
        for action, ways in zip(those, _ways(game, questions, one(role)), strict=True):
            found[action.name] = ways
    return found


def _asked(game: Game, actions: list[Action]) -> dict[str, int | None]:
    """The fewest people who can do each action without other moves."""
    questions = [
        partial(_without_owner, game, action, without_moves=True) for action in actions
    ]
    found = game.smallest(questions, NOBODY, without_moves=True)
    return {
        action.name: min(map(sum, coalitions), default=None)
        for action, coalitions in zip(actions, found, strict=True)
    }


def _ways(game: Game, questions: Sequence[Question], beside: Counts) -> list[tuple[Way, ...]]:
    found = game.smallest(questions, beside)
    listed: list[list[Way]] = [[] for _ in questions]
    for people in {people for coalitions in found for people in coalitions}:
        ours = [i for i, coalitions in enumerate(found) if people in coalitions]
        moves = game.ways(game.start(plus(people, beside)), [questions[i] for i in ours])
        for place, i in enumerate(ours):
            listed[i].append(Way(people, moves[place]))
    return [tuple(sorted(ways, key=_rank)) for ways in listed]


def _rank(way: Way) -> tuple[int, int, tuple[int, ...]]:
    """Sort key: fewest people first, then fewest moves, then the most powerful roles."""
    return way.size, len(way.moves), tuple(-n for n in way.people)


def _without_owner(
    game: Game, action: Action, at: Position, *, without_moves: bool = False
) -> bool:
    if at.rules:
        return True
    return any(
        _opens(game, action, key, at, without_moves=without_moves) for key in action.keys
    )


def _opens(
    game: Game, action: Action, key: RuleKey, at: Position, *, without_moves: bool
) -> bool:
    own = at.own
    rule = game.rules.get(key)
    if rule is None:
        return False
    if not action.owned:
        return by_anybody(rule, own) or (key.auth_type == "1" and by_itself(rule))
    if owner_counts(key) and by_others(rule, own):
        return True
    if without_moves or key == VERKEY or not by_others(game.verkey, own):
        return False
    apart = at.others[ROLES.index(action.owner)] > 0
    return by_owner(rule, plus(own, one(action.owner)) if apart else own, action.owner)


def _with_owner(game: Game, action: Action, at: Position) -> bool:
    if at.rules:
        return True
    rules = ((key, game.rules[key]) for key in action.keys if key in game.rules)
    return any(_owner_may(game, key, rule, at.own, action.owner) for key, rule in rules)


def _owner_may(
    game: Game, key: RuleKey, rule: Constraint, own: Counts, role: str | None
) -> bool:
    if by_owner(rule, own, role):
        return True
    return key.auth_type == "1" and game.may_with_key(rule, own, role)
