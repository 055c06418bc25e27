"""Operations of requests: a closed schema for every type of transaction that can be reviewed."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from keep_ledger.codes import CONFIG, DOMAIN, POOL
from keep_ledger.json_object import Json
from keep_ledger.multisig.proposal.field_types import (
    MAX_NAME,
    MOMENT,
    Big,
    DidText,
    DocumentText,
    Hexes,
    Ip,
    Name,
    ObjectId,
    Port,
    Prose,
    Seconds,
    SeqNo,
    Sha256,
    Verkey,
    base58_of,
    object_in,
    without,
)
from keep_ledger.multisig.rules.auth_rules import RuleKey, parse_constraint
from keep_ledger.multisig.rules.single_reading import hides_nothing


class Closed(BaseModel):
    """An object that has only the members named here."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True
    )


class Operation(Closed):
    """What a request does.

    Attributes:
        LEDGER: number of its ledger.
        NAME: Indy's name of the type.
    """

    LEDGER: ClassVar[int] = DOMAIN
    NAME: ClassVar[str]


class Nym(Operation):
    """NYM: a DID, its key, its role.

    Attributes:
        role: None removes every role; if the member is absent, the role does not change.
    """

    NAME: ClassVar[str] = "NYM"
    type: Literal["1"]
    dest: DidText
    verkey: Verkey | None = None
    role: Literal["0", "2", "101", "201"] | None = None
    alias: Name | None = None
    diddocContent: DocumentText | None = None  # noqa: N815  the ledger's name
    version: Annotated[int, Field(ge=0, le=2)] | None = None

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        for name in ("verkey", "alias", "diddocContent", "version"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(
                    f"{name} is null, which is signed like an empty text: leave it out"
                )
        if {"role", "diddocContent"} <= self.model_fields_set:
            raise ValueError(
                "role and diddocContent together could be hidden under the same signature: change"
                " the role in a request of its own"
            )
        return self

    @property
    def document(self) -> Json | None:
        """What the DID's document has besides its keys; None if the member is absent."""
        return None if self.diddocContent is None else object_in(self.diddocContent)

    @property
    def may_lose(self) -> tuple[str, ...]:
        """Members that its sender could take out under the same signatures.

        With a colon inside, or beside each other, they can be read as an unknown member, which is ignored.
        """
        found = ("diddocContent",) if self.diddocContent is not None else ()
        together = (
            ("verkey", "version") if {"verkey", "version"} <= self.model_fields_set else ()
        )
        return found + together

    @property
    def sets_role(self) -> bool:
        """Whether it sets or removes a role."""
        return "role" in self.model_fields_set


class Attrib(Operation):
    """ATTRIB: one attribute of a DID, in plain text."""

    NAME: ClassVar[str] = "ATTRIB"
    type: Literal["100"]
    dest: DidText
    raw: Annotated[str, Field(max_length=5 * 1024)]

    @model_validator(mode="before")
    @classmethod
    def _shown(cls, body: Json) -> Json:
        if {"hash", "enc"} & body.keys():
            raise ValueError("it has only a hash or an encrypted text, which nobody can review")
        return body

    @model_validator(mode="after")
    def _one_attribute(self) -> Self:
        if len(self.content) != 1:
            raise ValueError("raw must have exactly one attribute")
        return self

    @property
    def content(self) -> Json:
        """The attribute as an object with one member."""
        return object_in(self.raw, "raw ")


class SchemaData(Closed):
    """Name, version and attributes of a schema."""

    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){1,2}$", max_length=128)]
    attr_names: Annotated[list[Name], Field(min_length=1, max_length=125)]

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if len(set(self.attr_names)) != len(self.attr_names):
            raise ValueError("an attribute is named twice")
        return self


class Schema(Operation):
    """SCHEMA: owned by the author."""

    NAME: ClassVar[str] = "SCHEMA"
    type: Literal["101"]
    data: SchemaData


class Primary(Closed):
    """The public key of a credential definition: decimal numbers."""

    n: Big
    s: Big
    r: Annotated[dict[Name, Big], Field(min_length=1, max_length=126)]
    rctxt: Big
    z: Big


class Revocation(Closed):
    """Its public key for revocation: points, in hex."""

    g: Hexes
    g_dash: Hexes
    h: Hexes
    h0: Hexes
    h1: Hexes
    h2: Hexes
    htilde: Hexes
    h_cap: Hexes
    u: Hexes
    pk: Hexes
    y: Hexes


class ClaimDefData(Closed):
    """Both keys of a credential definition."""

    primary: Primary
    revocation: Revocation | None = None


class ClaimDef(Operation):
    """CLAIM_DEF: a credential definition, owned by the author."""

    NAME: ClassVar[str] = "CRED_DEF"
    type: Literal["102"]
    ref: SeqNo
    signature_type: Literal["CL"]
    tag: Name
    data: ClaimDefData


class AccumulatorKey(Closed):
    """The key of an accumulator."""

    z: Hexes


class RegistryKeys(Closed):
    """The keys of a revocation registry."""

    accumKey: AccumulatorKey  # noqa: N815  the ledger's name


class RegistryValue(Closed):
    """What a revocation registry is."""

    issuanceType: Literal["ISSUANCE_BY_DEFAULT", "ISSUANCE_ON_DEMAND"]  # noqa: N815
    maxCredNum: Annotated[int, Field(ge=1, le=1 << 24)]  # noqa: N815
    publicKeys: RegistryKeys  # noqa: N815
    tailsHash: Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{43,44}$")]  # noqa: N815
    tailsLocation: ObjectId  # noqa: N815


class RegistryDef(Operation):
    """REVOC_REG_DEF: a revocation registry."""

    NAME: ClassVar[str] = "REVOC_REG_DEF"
    type: Literal["113"]
    id: ObjectId
    revocDefType: Literal["CL_ACCUM"]  # noqa: N815
    tag: Name
    credDefId: ObjectId  # noqa: N815
    value: RegistryValue


Index = Annotated[int, Field(ge=0, lt=1 << 32)]


class EntryValue(Closed):
    """The state of a revocation registry."""

    accum: Hexes
    prevAccum: Hexes | None = None  # noqa: N815
    issued: list[Index] | None = None
    revoked: list[Index] | None = None


class RegistryEntry(Operation):
    """REVOC_REG_ENTRY: a new state of a revocation registry."""

    NAME: ClassVar[str] = "REVOC_REG_ENTRY"
    type: Literal["114"]
    revocRegDefId: ObjectId  # noqa: N815
    revocDefType: Literal["CL_ACCUM"]  # noqa: N815
    value: EntryValue


class NodeData(Closed):
    """What changes of a node."""

    alias: Name
    node_ip: Ip | None = None
    node_port: Port | None = None
    client_ip: Ip | None = None
    client_port: Port | None = None
    blskey: Annotated[str, base58_of(128)] | None = None
    blskey_pop: Annotated[str, base58_of(128)] | None = None
    services: Annotated[list[Literal["VALIDATOR"]], Field(max_length=1)] | None = None


class Node(Operation):
    """NODE: a validator."""

    LEDGER: ClassVar[int] = POOL
    NAME: ClassVar[str] = "NODE"
    type: Literal["0"]
    dest: Annotated[str, base58_of(32)]
    data: NodeData


class Agreement(Operation):
    """TXN_AUTHOR_AGREEMENT: a new one, or the end of an old one."""

    LEDGER: ClassVar[int] = CONFIG
    NAME: ClassVar[str] = "TXN_AUTHOR_AGREEMENT"
    type: Literal["4"]
    version: Name
    text: Prose | None = None
    ratification_ts: Seconds | None = None
    retirement_ts: Seconds | None = None

    @model_validator(mode="after")
    def _one_purpose(self) -> Self:
        new = self.text is not None and self.ratification_ts is not None
        if new is (self.retirement_ts is not None) or (self.text is None) is new:
            raise ValueError(
                "an agreement is either new, with text and ratification_ts, or it ends, with only"
                " retirement_ts: a combination could be read in another way under the same signature"
            )
        return self


class Mechanisms(Operation):
    """TXN_AUTHOR_AGREEMENT_AML: the ways to accept an agreement."""

    LEDGER: ClassVar[int] = CONFIG
    NAME: ClassVar[str] = "TXN_AUTHOR_AGREEMENT_AML"
    type: Literal["5"]
    version: Name
    aml: Annotated[dict[Name, Prose], Field(min_length=1, max_length=100)]
    amlContext: Prose | None = None  # noqa: N815


class NoAgreement(Operation):
    """TXN_AUTHOR_AGREEMENT_DISABLE: no agreement is in force any more."""

    LEDGER: ClassVar[int] = CONFIG
    NAME: ClassVar[str] = "TXN_AUTHOR_AGREEMENT_DISABLE"
    type: Literal["8"]


def _is_constraint(body: Json) -> Json:
    constraint = parse_constraint(body)
    if _noted(body):
        raise ValueError("metadata of a rule can hide another rule: it must be empty")
    del constraint
    return body


def _noted(body: Json) -> bool:
    parts = cast("list[Json]", body.get("auth_constraints", []))
    return bool(body.get("metadata")) or any(map(_noted, parts))


RuleValue = Annotated[str, Field(max_length=MAX_NAME), without("|,:", "a rule")]


class RuleChange(Closed):
    """One rule, and what it becomes."""

    auth_type: Annotated[str, Field(pattern=r"^[0-9]{1,6}$")]
    auth_action: Literal["ADD", "EDIT"]
    field: Annotated[str, Field(pattern=r"^(\*|[a-z_]{1,40})$")]
    old_value: RuleValue | None = None
    new_value: RuleValue | None
    constraint: Annotated[Json, AfterValidator(_is_constraint)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.auth_action == "EDIT") != ("old_value" in self.model_fields_set):
            raise ValueError("a rule has old_value with EDIT, and only then")
        return self


class AuthRule(RuleChange, Operation):
    """AUTH_RULE: change one rule about who may do what."""

    LEDGER: ClassVar[int] = CONFIG
    NAME: ClassVar[str] = "AUTH_RULE"
    type: Literal["120"]

    @model_validator(mode="after")
    def _one_reading(self) -> Self:
        hides_nothing([self.constraint])
        return self


class AuthRules(Operation):
    """AUTH_RULES: change several rules, all or none."""

    LEDGER: ClassVar[int] = CONFIG
    NAME: ClassVar[str] = "AUTH_RULES"
    type: Literal["122"]
    rules: Annotated[list[RuleChange], Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _one_reading(self) -> Self:
        keys = [RuleKey.of(one.model_dump(exclude_unset=True)) for one in self.rules]
        if len(set(keys)) != len(keys):
            raise ValueError("a rule is changed twice")
        hides_nothing([one.constraint for one in self.rules])
        return self


class Upgrade(Operation):
    """POOL_UPGRADE: the nodes install another version."""

    LEDGER: ClassVar[int] = CONFIG
    NAME: ClassVar[str] = "POOL_UPGRADE"
    type: Literal["109"]
    action: Literal["start", "cancel"]
    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.~+-]{1,128}$")]
    sha256: Sha256
    schedule: (
        dict[Annotated[str, base58_of(32)], Annotated[str, Field(pattern=MOMENT)]] | None
    ) = None
    timeout: Seconds | None = None
    justification: Name | None = None
    force: bool | None = None
    reinstall: bool | None = None
    package: Name | None = None

    @model_validator(mode="after")
    def _none_hidden(self) -> Self:
        """In the signing input two adjacent optional members can be read as one unknown member."""
        for one, other in (("force", "justification"), ("package", "reinstall")):
            if {one, other} <= self.model_fields_set:
                raise ValueError(
                    f"{one} and {other} together could be hidden under the same signature: leave one out"
                )
        return self


class PoolConfig(Operation):
    """POOL_CONFIG: whether the network accepts writes."""

    LEDGER: ClassVar[int] = CONFIG
    NAME: ClassVar[str] = "POOL_CONFIG"
    type: Literal["111"]
    writes: bool
    force: bool | None = None


AnyOperation = (
    Nym
    | Attrib
    | Schema
    | ClaimDef
    | RegistryDef
    | RegistryEntry
    | Node
    | Agreement
    | Mechanisms
    | NoAgreement
    | AuthRule
    | AuthRules
    | Upgrade
    | PoolConfig
)
TYPES: dict[str, type[Operation]] = {
    "1": Nym,
    "100": Attrib,
    "101": Schema,
    "102": ClaimDef,
    "113": RegistryDef,
    "114": RegistryEntry,
    "0": Node,
    "4": Agreement,
    "5": Mechanisms,
    "8": NoAgreement,
    "120": AuthRule,
    "122": AuthRules,
    "109": Upgrade,
    "111": PoolConfig,
}
