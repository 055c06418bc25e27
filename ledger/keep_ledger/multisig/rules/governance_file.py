"""Governance as a file: how many trustees decide what, and the rules that put it in force.

A quorum in one rule is only as strong as the weakest way around it: whoever can register trustees, change
the rules, or give a trustee another key can do everything. So every rule that names a trustee is set,
and a file is refused if one of these ways takes fewer trustees than something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, assert_never, cast

import yaml
from pydantic import BeforeValidator, Field, PlainValidator, ValidationError
from yaml.events import AliasEvent
from yaml.nodes import MappingNode

from keep_ledger import codes
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.operations import Closed
from keep_ledger.multisig.rules.auth_rules import (
    ANY,
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
    parse_constraint,
    who,
)
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.multisig.rules.single_reading import spelled
from keep_ledger.multisig.rules.soundness import check, same
from keep_ledger.multisig.threshold.shares import reason

_MOST_TRUSTEES = 100
_LONGEST = 1 << 16
_OWNER = Role(ANY, 1, need_to_be_owner=True)
_TOPICS = {
    "roles": ("1",),
    "schemas": ("100", "101", "102", "113", "114", *map(str, range(200, 206))),
    "nodes": ("0",),
    "agreement": ("4", "5", "8"),
    "upgrade": ("9", "109", "111", "118", "119", "130"),
    "rules": ("120", "122"),
}
_TOPIC_OF = {kind: topic for topic, kinds in _TOPICS.items() for kind in kinds}


# -- the file ------------------------------------------------------------------------------------


def _quorum(value: object) -> object:
    if type(value) is int and value < 1:
        raise ValueError("a quorum of 0 lets everybody decide: it must be at least 1")
    return value


Count = Annotated[int, BeforeValidator(_quorum), Field(le=_MOST_TRUSTEES)]


def _decider(value: object) -> Constraint:
    if type(value) is int:
        _quorum(value)
        return Role(codes.TRUSTEE, value)
    if value == "nobody":
        return Forbidden()
    return parse_constraint(value)


Decider = Annotated[Constraint, PlainValidator(_decider)]


class Trustees(Closed):
    """The trustees.

    Attributes:
        members: how many trustees there are.
        quorum: how many of them must agree.
    """

    members: Count
    quorum: Count


class Topics(Closed):
    """Quorums for topics that differ from the rest; None: as the rest."""

    roles: Count | None = None
    schemas: Count | None = None
    nodes: Count | None = None
    agreement: Count | None = None
    upgrade: Count | None = None
    rules: Count | None = None


class Recovery(Closed):
    """How many trustees can give a DID another key, beside its owner."""

    quorum: Count


class Governance(Closed):
    """Wanted quorums.

    Attributes:
        recovery: None: a lost key cannot be replaced.
        stewards_register_endorsers: whether a single steward may register endorsers.
        custom: constraints by the names of their rules.
    """

    trustees: Trustees
    topics: Topics = Topics()
    recovery: Recovery | None = None
    stewards_register_endorsers: bool = False
    custom: dict[str, Decider] = Field(default_factory=dict[str, Constraint])

    def quorum(self, key: RuleKey) -> int:
        """How many trustees must agree on the writes of a rule."""
        topic = _TOPIC_OF.get(key.auth_type, "")
        return getattr(self.topics, topic, None) or self.trustees.quorum


class _Loader(yaml.SafeLoader):
    """A YAML loader that refuses what makes a file hard to read: duplicate names, aliases, merges."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(AliasEvent):
            raise RefusedError("the file uses an alias (*name): write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as PyYAML has it
        names = [str(name.value) for name, _ in node.value]
        if "<<" in names:
            raise RefusedError("the file merges another mapping (<<): write it out")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RefusedError(f"the file has {twice[0]!r} twice")
        return cast("dict[Any, Any]", super().construct_mapping(node, deep))


def parse(text: str) -> Governance:
    """Read a file of wanted quorums.

    Raises:
        RefusedError: it is not YAML, has an unknown member, or its rules are not sound; says where
            and why.
    """
    if len(text) > _LONGEST:
        raise RefusedError(f"a file of wanted quorums has at most {_LONGEST} characters")
    try:
        body: object = yaml.load(text, _Loader)  # noqa: S506 - it is a safe loader
        wanted = Governance.model_validate(body)
    except yaml.YAMLError as error:
        raise RefusedError(f"this is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise RefusedError(f"in the file of wanted quorums: {reason(error)}") from error
    except (RecursionError, ValueError) as error:
        if isinstance(error, RefusedError):
            raise
        raise RefusedError("this YAML is not a file of wanted quorums") from error
    wanted_rules(wanted, DEFAULTS)
    return wanted


# -- the rules that it stands for ----------------------------------------------------------------


def wanted_rules(wanted: Governance, rules: Rules) -> dict[RuleKey, Constraint]:
    """The wanted rules: those that name trustees, the one about keys, and custom ones.

    Args:
        rules: all that are in force.

    Raises:
        RefusedError: they would lock everybody out, or could be circumvented.
    """
    found = {
        key: _with_quorum(_shape(key, rules[key], wanted), wanted.quorum(key))
        for key in rules
        if _names_trustee(rules[key]) or _names_trustee(DEFAULTS.get(key, Forbidden()))
    }
    if VERKEY in rules:
        quorum = wanted.recovery and Role(codes.TRUSTEE, wanted.recovery.quorum)
        found[VERKEY] = Or((_OWNER, quorum)) if quorum else _OWNER
    for name, constraint in wanted.custom.items():
        key = RuleKey.parse(name)
        if key not in rules:
            raise RefusedError(f"custom.{name}: the ledger has no such rule")
        found[key] = constraint
    check(wanted.trustees.members, wanted.custom, dict(rules) | found)
    return found


def _shape(key: RuleKey, now: Constraint, wanted: Governance) -> Constraint:
    """Who may do it beside trustees: as in the default rules, so that a file has one meaning."""
    first = DEFAULTS.get(key, now)
    shape = first if _names_trustee(first) else now
    if wanted.stewards_register_endorsers or not _gives_role(key):
        return shape
    return Role(codes.TRUSTEE, 1)


def _gives_role(key: RuleKey) -> bool:
    """Whether it is about giving or removing a role."""
    return (
        key.auth_type == "1" and key.field == "role" and {key.old, key.new} - {"", ANY} != set()
    )


def _with_quorum(constraint: Constraint, quorum: int) -> Constraint:
    match constraint:
        case Role(role=codes.TRUSTEE):
            return Role(codes.TRUSTEE, quorum, constraint.need_to_be_owner)
        case Role():
            return replace(constraint, metadata={})
        case And():
            return And(tuple(_with_quorum(part, quorum) for part in constraint.parts))
        case Or():
            return Or(tuple(_with_quorum(part, quorum) for part in constraint.parts))
        case Forbidden():
            return constraint
        case _:
            assert_never(constraint)


def _names_trustee(constraint: Constraint) -> bool:
    return any(leaf.role == codes.TRUSTEE for leaf in leaves(constraint))


def cautions(wanted: Governance) -> list[str]:
    """Warnings about a file that is allowed."""
    members, found = wanted.trustees.members, list[str]()
    if wanted.trustees.quorum == members > 1:
        found.append(
            "All trustees must sign: if one key is lost, nothing can be decided any more."
        )
    if wanted.recovery is None:
        found.append("There is no recovery: the trustees cannot replace a lost key.")
    elif wanted.recovery.quorum >= members:
        found.append("A trustee's lost key cannot be replaced: the other trustees are too few.")
    return found


# -- what changes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one rule."""

    key: RuleKey
    before: Constraint
    after: Constraint

    @property
    def sentence(self) -> str:
        """`Register an endorser: a steward or a trustee -> three trustees together`."""
        text = self.key.description
        return f"{text[:1].upper()}{text[1:]}: {who(self.before)} -> {who(self.after)}"


def diff(wanted: Governance, rules: Rules) -> tuple[Change, ...]:
    """Every rule that changes; those about rules come last.

    Raises:
        RefusedError: as for `wanted_rules`.
    """
    found = wanted_rules(wanted, rules)
    changed = [key for key in found if not same(found[key], rules[key])]
    ordered = sorted(changed, key=lambda key: (key in (RULE, RULES), key))
    return tuple(Change(key, rules[key], found[key]) for key in ordered)


def operation(wanted: Governance, rules: Rules) -> Json:
    """The AUTH_RULES operation that changes all of these rules at once.

    Raises:
        RefusedError: as for `wanted_rules`; or nothing would change.
    """
    changes = diff(wanted, rules)
    if not changes:
        raise RefusedError(
            "the rules of this ledger are as wanted: there is nothing to propose"
        )
    return change_to({change.key: change.after for change in changes})


def change_to(rules: Mapping[RuleKey, Constraint]) -> Json:
    """An AUTH_RULES operation for these rules, written so that it can be signed (`single_reading`).

    Rules that require an owner come last for that reason; the others stay in their order.
    """
    keys = list(rules)
    order, parts = spelled([rule.to_json() for rule in rules.values()])
    pairs = zip(order, parts, strict=True)
    return {"type": "122", "rules": [keys[i].to_json() | {"constraint": c} for i, c in pairs]}
