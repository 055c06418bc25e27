"""Auth rules of an Indy ledger: read strictly, checked, and put into words.

A rule is a key (which kind of write, which field, from which value to which) and a constraint on the
signers. The constraint's JSON does not say all that it means; this is how the ledger applies it
(indy-node: `indy_common/authorize`, the request handlers, `client_authn`):

- The author must sign, and must be on the ledger unless off-ledger signatures are allowed.
  `need_to_be_owner` is about the author only, not about the other signers.
- One signer counts in every part of an AND: one trustee satisfies `1 trustee AND 1 of any role`.
- `*` counts every signature.
- An author without a role whose write is also signed by an endorser, steward or trustee must name an
  endorser, who signs, too. The named endorser must have the role ENDORSER and no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, assert_never, cast

from keep_ledger.codes import ENDORSER, ROLE_NAMES, STEWARD, TRUSTEE
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.rules.rule_words import (
    describe_rule,
    number_word,
    role_count,
    role_noun,
    with_article,
)

ANY = "*"
PRIVILEGED = frozenset({TRUSTEE, STEWARD, ENDORSER})
"""Roles whose signature on the write of an author without a role is an endorsement."""

_DEEPEST = 8
_LONGEST_CHAIN = 60
"""How many ANDs with one part may stand in each other: they mean that part (`single_reading`)."""
_MOST_PARTS = 64
_MOST_SIGNATURES = 1_000_000
_ROLES = frozenset({None, ANY, *ROLE_NAMES})
_ROLE_MEMBERS = frozenset({"constraint_id", "role", "sig_count", "need_to_be_owner"})
_ROLE_OPTIONS = frozenset({"metadata", "off_ledger_signature"})
_ENTRY = frozenset({"auth_type", "auth_action", "field", "new_value"})
_COMPARED = frozenset(
    {("1", "EDIT"), ("0", "EDIT"), *((t, a) for t in ("100", "114") for a in ("ADD", "EDIT"))}
)


@dataclass(frozen=True, slots=True, order=True)
class RuleKey:
    """The writes that a rule is about.

    Attributes:
        auth_type: number of the transaction type.
        action: ADD or EDIT.
        old: old value; `*` for any, and always with ADD; empty for no role.
        new: new value, likewise.
    """

    auth_type: str
    action: str
    field: str
    old: str
    new: str

    @property
    def text(self) -> str:
        """`1--ADD--role--*--101`: the ledger's own name of the rule."""
        return f"{self.auth_type}--{self.action}--{self.field}--{self.old}--{self.new}"

    @property
    def description(self) -> str:
        """The writes in words: `register an endorser`."""
        return describe_rule(self.auth_type, self.action, self.field, self.old, self.new)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` returns.

        Raises:
            RefusedError: it is not such a text.
        """
        parts = text.split("--")
        if len(parts) != 5 or not all(parts[:3]) or parts[1] not in ("ADD", "EDIT"):  # noqa: PLR2004
            raise RefusedError(f"{text[:80]!r} is not the name of an auth rule")
        return cls(*parts)

    @classmethod
    def of(cls, entry: Json) -> Self:
        """The key in an entry of GET_AUTH_RULE's answer, AUTH_RULE or AUTH_RULES.

        Raises:
            RefusedError: a member is missing or is not text.
        """
        action, edit = entry.get("auth_action"), "old_value" in entry
        values = {name: entry.get(name) for name in (*_ENTRY, "old_value")}
        texts = {name: "" if value is None else value for name, value in values.items()}
        if not entry.keys() >= _ENTRY or not all(isinstance(v, str) for v in texts.values()):
            raise RefusedError("an auth rule lacks auth_type, auth_action, field or new_value")
        if action not in ("ADD", "EDIT") or edit is not (action == "EDIT"):
            raise RefusedError("an auth rule has old_value with EDIT, and only then")
        old = texts["old_value"] if edit else ANY
        return cls(
            texts["auth_type"], texts["auth_action"], texts["field"], old, texts["new_value"]
        )

    def to_json(self) -> Json:
        """The members that name it in GET_AUTH_RULE, AUTH_RULE and AUTH_RULES.

        "No role" is the empty text: the ledger returns that, and null means the same.
        """
        body = {
            "auth_type": self.auth_type,
            "auth_action": self.action,
            "field": self.field,
            "new_value": self.new,
        }
        return body | ({"old_value": self.old} if self.action == "EDIT" else {})

    def covers(self, other: RuleKey) -> bool:
        """Whether this rule applies to `other`, in which `*` stands only where any value is meant."""
        pairs = zip(self.text.split("--"), other.text.split("--"), strict=True)
        return all(mine in (ANY, theirs) for mine, theirs in pairs)


VERKEY = RuleKey("1", "EDIT", "verkey", ANY, ANY)
"""The rule about another key for a DID."""
RULE, RULES = RuleKey("120", "EDIT", ANY, ANY, ANY), RuleKey("122", "EDIT", ANY, ANY, ANY)
"""The rules about AUTH_RULE and AUTH_RULES: who can do either can change every rule."""


@dataclass(frozen=True, slots=True)
class Role:
    """A number of signatures by one role.

    Attributes:
        role: code of a role; None for a DID without a role, `*` for any.
        need_to_be_owner: the author must own what is changed (see `owner_counts`).
        off_ledger_signature: signers need not be on the ledger; then the ledger does not distinguish
            them. None if the ledger does not say.
    """

    role: str | None
    sig_count: int
    need_to_be_owner: bool = False
    off_ledger_signature: bool | None = None
    metadata: Json = field(default_factory=dict[str, Any], hash=False)

    def to_json(self) -> Json:
        """The JSON of the ledger."""
        body: Json = {
            "constraint_id": "ROLE",
            "role": self.role,
            "sig_count": self.sig_count,
            "need_to_be_owner": self.need_to_be_owner,
            "metadata": self.metadata,
        }
        if self.off_ledger_signature is not None:
            body["off_ledger_signature"] = self.off_ledger_signature
        return body


@dataclass(frozen=True, slots=True)
class And:
    """All parts must be satisfied."""

    parts: tuple[Constraint, ...]

    def to_json(self) -> Json:
        """The JSON of the ledger."""
        return {"constraint_id": "AND", "auth_constraints": [p.to_json() for p in self.parts]}


@dataclass(frozen=True, slots=True)
class Or:
    """One part must be satisfied."""

    parts: tuple[Constraint, ...]

    def to_json(self) -> Json:
        """The JSON of the ledger."""
        return {"constraint_id": "OR", "auth_constraints": [p.to_json() for p in self.parts]}


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Nobody may do it."""

    def to_json(self) -> Json:
        """The JSON of the ledger."""
        return {"constraint_id": "FORBIDDEN"}


Constraint = Role | And | Or | Forbidden
Rules = Mapping[RuleKey, Constraint]


def parse_constraint(body: object) -> Constraint:
    """Read a constraint from the ledger or from a request.

    Raises:
        RefusedError: a member is unknown, missing or of a wrong type, or it is nested too deep.
    """
    return _constraint(body, 0, 0)


def _constraint(body: object, depth: int, chain: int) -> Constraint:
    if not isinstance(body, dict) or depth > _DEEPEST or chain > _LONGEST_CHAIN:
        raise RefusedError("an auth constraint is not an object, or is nested too deep")
    members = cast("Json", body)
    match members.get("constraint_id"):
        case "ROLE":
            return _role(members)
        case "AND":
            return And(_parts(members, depth, chain))
        case "OR":
            return Or(_parts(members, depth, chain))
        case "FORBIDDEN" if len(members) == 1:
            return Forbidden()
        case kind:
            raise RefusedError(f"there is no auth constraint {kind!r} with these members")


def _parts(members: Json, depth: int, chain: int) -> tuple[Constraint, ...]:
    listed: object = members.get("auth_constraints")
    if members.keys() != {"constraint_id", "auth_constraints"} or not isinstance(listed, list):
        raise RefusedError("AND and OR have a list of auth_constraints and nothing else")
    parts = cast("list[object]", listed)
    if not 0 < len(parts) <= _MOST_PARTS:
        raise RefusedError(f"AND and OR have 1 to {_MOST_PARTS} parts")
    alone = members["constraint_id"] == "AND" and len(parts) == 1
    return tuple(
        _constraint(part, depth, chain + 1) if alone else _constraint(part, depth + 1, chain)
        for part in parts
    )


def _role(members: Json) -> Role:
    if extra := members.keys() - _ROLE_MEMBERS - _ROLE_OPTIONS:
        raise RefusedError(f"an auth constraint has no member {min(extra)!r}")
    role, count = members.get("role", ""), members.get("sig_count")
    owner, off = members.get("need_to_be_owner", False), members.get("off_ledger_signature")
    metadata: object = members.get("metadata", {})
    if not (role is None or isinstance(role, str)) or role not in _ROLES:
        raise RefusedError(f"an auth constraint with an unknown role: {role!r}")
    if type(count) is not int or not 0 <= count <= _MOST_SIGNATURES:
        raise RefusedError(f"an auth constraint with {count!r} signatures")
    if type(owner) is not bool or type(off) not in (bool, type(None)):
        raise RefusedError("need_to_be_owner and off_ledger_signature must be true or false")
    if off and role != ANY:
        raise RefusedError("off_ledger_signature is allowed with the role * only")
    if not isinstance(metadata, dict):
        raise RefusedError("the metadata of an auth constraint must be an object")
    return Role(role, count, owner, off, cast("Json", metadata))


def leaves(constraint: Constraint) -> tuple[Role, ...]:
    """All parts that require signatures."""
    match constraint:
        case Role():
            return (constraint,)
        case And() | Or():
            return tuple(leaf for part in constraint.parts for leaf in leaves(part))
        case Forbidden():
            return ()
        case _:
            assert_never(constraint)


# -- signers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody with a valid signature on a request.

    Attributes:
        role: its code; None for no role.
        owner: whether it owns what is changed; True for everybody where `owner_counts` is False.
        known: whether it is on the ledger. Others can sign only the NYM with which a DID registers itself.
    """

    did: str
    role: str | None
    owner: bool = False
    known: bool = True


def owner_counts(key: RuleKey) -> bool:
    """Whether the ledger compares the author with the owner for these writes.

    If not, every author satisfies `need_to_be_owner`: there is no owner yet, or the id of the object
    contains the author.
    """
    return (key.auth_type, key.action) in _COMPARED


def refusal(
    constraint: Constraint, signers: Sequence[Signer], author: str, endorser: str | None
) -> str:
    """What is missing for the ledger to accept a request; empty if nothing is.

    Args:
        signers: those who signed, each once.
        author: the DID in `identifier`.
        endorser: the DID in `endorser`.
    """
    by_did = {signer.did: signer for signer in signers}
    if author not in by_did:
        return "the author's signature"
    if endorser is not None and (endorser not in by_did or by_did[endorser].role != ENDORSER):
        return "the signature of the named endorser, who must have the role ENDORSER"
    wanted = _missing(constraint, signers, by_did[author])
    if not wanted and endorser is None and _endorsed(signers, by_did[author]):
        return "an endorser: named in the request, and signing"
    return wanted


def satisfied(constraint: Constraint, signers: Sequence[Signer]) -> bool:
    """Whether a request with exactly these signers can be accepted, with the best of them as author."""
    return not missing(constraint, signers)


def missing(constraint: Constraint, signers: Sequence[Signer]) -> str:
    """Which signatures are still missing, in words: `two more trustees`; empty if none are.

    It assumes the best choice of author and endorser among the signers.
    """
    if not signers:
        return who(constraint)
    endorser = next((s.did for s in signers if s.role == ENDORSER), None)
    authors = sorted(signers, key=lambda signer: not signer.owner)
    told = [refusal(constraint, signers, author.did, endorser) for author in authors]
    return "" if "" in told else told[0]


def _endorsed(signers: Sequence[Signer], author: Signer) -> bool:
    return author.role not in PRIVILEGED and any(s.role in PRIVILEGED for s in signers)


def _missing(constraint: Constraint, signers: Sequence[Signer], author: Signer) -> str:
    match constraint:
        case Role():
            return _missing_role(constraint, signers, author)
        case And():
            told = [_missing(part, signers, author) for part in constraint.parts]
            return " and ".join(dict.fromkeys(one for one in told if one))
        case Or():
            told = [_missing(part, signers, author) for part in constraint.parts]
            return "" if "" in told else ", or ".join(dict.fromkeys(told))
        case Forbidden():
            return "no signature is enough: it is forbidden to everybody"
        case _:
            assert_never(constraint)


def _missing_role(leaf: Role, signers: Sequence[Signer], author: Signer) -> str:
    if leaf.need_to_be_owner and not author.owner:
        return "the owner as author"
    if leaf.sig_count == 0:
        return ""
    if not leaf.off_ledger_signature and not author.known:
        return "an author who is on the ledger"
    count = len(signers) if leaf.role == ANY else sum(_has_role(s, leaf) for s in signers)
    short = leaf.sig_count - count
    if short <= 0:
        return ""
    words = role_count(short, leaf.role).partition(" ")
    return f"{words[0]} more {words[2]}" if count else f"{words[0]} {words[2]}"


def _has_role(signer: Signer, leaf: Role) -> bool:
    return signer.known and signer.role == leaf.role


# -- in words ------------------------------------------------------------------------------------


def sentence(key: RuleKey, constraint: Constraint) -> str:
    """The rule in words: `Two trustees together may register an endorser.`."""
    told = who(
        constraint if key.action == "EDIT" or owner_counts(key) else _without_owner(constraint)
    )
    first = told.index(told.lstrip("(")[0])
    return f"{told[: first + 1].upper()}{told[first + 1 :]} may {key.description}."


def _without_owner(constraint: Constraint) -> Constraint:
    """Without `need_to_be_owner`, for objects that have no owner yet."""
    match constraint:
        case Role():
            return replace(constraint, need_to_be_owner=False)
        case And():
            return And(tuple(map(_without_owner, constraint.parts)))
        case Or():
            return Or(tuple(map(_without_owner, constraint.parts)))
        case Forbidden():
            return constraint
        case _:
            assert_never(constraint)


def who(constraint: Constraint) -> str:
    """Who satisfies a constraint, in words."""
    constraint = _unwrapped(constraint)
    match constraint:
        case Role():
            return _who_role(constraint)
        case And() | Or():
            word = " and " if isinstance(constraint, And) else " or "
            return word.join(
                f"({who(part)})" if isinstance(_unwrapped(part), And | Or) else who(part)
                for part in constraint.parts
            )
        case Forbidden():
            return "nobody"
        case _:
            assert_never(constraint)


def _unwrapped(constraint: Constraint) -> Constraint:
    """The part of an AND or OR that has no other: it means the same."""
    while isinstance(constraint, And | Or) and len(constraint.parts) == 1:
        (constraint,) = constraint.parts
    return constraint


def _who_role(leaf: Role) -> str:
    if leaf.off_ledger_signature:
        return "anybody, even without a DID on the ledger"
    owner = leaf.need_to_be_owner
    if leaf.sig_count == 0:
        return "the owner" if owner else "anybody with a DID on the ledger"
    if leaf.sig_count == 1 and leaf.role == ANY:
        return "the owner" if owner else "anybody with a DID on the ledger"
    if leaf.sig_count == 1:
        return with_article(role_noun(leaf.role)) + (" who owns it" if owner else "")
    together = f"{role_count(leaf.sig_count, leaf.role)} together"
    return (
        f"the owner with {number_word(leaf.sig_count)} signatures ({together})"
        if owner
        else together
    )
