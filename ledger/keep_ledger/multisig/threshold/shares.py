"""What FROST's parties store and exchange: checked when it is made, with a strict JSON form.

Every value is well formed: its scalars are canonical, its points are in the prime-order subgroup, and a share
fits its group. Whether several values belong together (same session, same group) is checked in `frost`
and `dkg`. Bytes are lower-case hex in JSON.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, ClassVar, Self, cast

import base58
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from keep_ledger.json_object import Json, once_each
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold.curve import (
    Point,
    Scalar,
    checked_point,
    checked_scalar,
    checked_secret,
    interpolate,
    sha256,
    times_base,
)

MAX_SIGNERS = 64
"""Limits the work that a hostile package can cause; the work of a DKG grows with its cube."""
MAX_TEXT = 1_000_000
_HEX = re.compile(r"(?:[0-9a-f]{2})*")


def _unhex(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not _HEX.fullmatch(value):
        raise ValueError("is not lower-case hex")
    return bytes.fromhex(value)


def _is_digest(raw: bytes) -> bytes:
    if len(raw) != 32:  # noqa: PLR2004  SHA-256
        raise ValueError("is not 32 bytes long")
    return raw


_hex = (BeforeValidator(_unhex), PlainSerializer(bytes.hex, str, when_used="json"))
HexBytes = Annotated[bytes, *_hex]
Digest = Annotated[bytes, *_hex, AfterValidator(_is_digest)]
PointBytes = Annotated[Point, *_hex, AfterValidator(checked_point)]
ScalarBytes = Annotated[Scalar, *_hex, AfterValidator(checked_scalar)]
SecretBytes = Annotated[Scalar, *_hex, AfterValidator(checked_secret)]
Identifier = Annotated[int, Field(ge=1, le=MAX_SIGNERS)]


class Wire(BaseModel):
    """A value with a JSON form that names its kind and version; unknown members are refused."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True
    )
    KIND: ClassVar[str]

    def to_json(self) -> Json:
        """Write it as an object of plain JSON values."""
        return {"kind": self.KIND} | self.model_dump(mode="json")

    def to_map(self) -> Json:
        """The same with raw bytes, for a CBOR container; `from_json` reads both."""
        return {"kind": self.KIND} | self.model_dump()

    def to_text(self) -> str:
        """Write it as JSON text; equal values give equal text."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text: 32 bytes for comparison, also aloud."""
        return sha256(self.to_text().encode())

    @classmethod
    def from_json(cls, body: Json, sender: int | None = None) -> Self:
        """Read what `to_json` or `to_map` wrote.

        Args:
            sender: the participant from whom it provably comes; named as the culprit, and a value with
                another identifier is refused.

        Raises:
            RefusedError: it is not such a value; the text says which member and why, never its content.
        """
        culprits = () if sender is None else (sender,)
        who = "" if sender is None else f"participant {sender}: "
        members = dict(body)
        if (kind := members.pop("kind", None)) != cls.KIND:
            raise RefusedError(f"{who}a {cls.KIND} was expected, not {kind!r:.40}", culprits)
        try:
            value = cls.model_validate_json(json.dumps(members, default=bytes.hex))
        except TypeError as error:
            raise RefusedError(f"{who}{cls.KIND}: cannot be read", culprits) from error
        except ValidationError as error:
            raise RefusedError(f"{who}{cls.KIND}: {reason(error)}", culprits) from error
        if sender is not None and getattr(value, "identifier", sender) != sender:
            raise RefusedError(
                f"{who}{cls.KIND} has the identifier of another participant", culprits
            )
        return value

    @classmethod
    def from_text(cls, text: str, sender: int | None = None) -> Self:
        """Read what `to_text` wrote; see `from_json`.

        Raises:
            RefusedError: it is not JSON, is larger than 1 MB, has a member twice, or is not such a value.
        """
        culprits = () if sender is None else (sender,)
        if len(text) > MAX_TEXT:
            raise RefusedError(f"{cls.KIND}: longer than {MAX_TEXT} characters", culprits)
        try:
            body: Any = json.loads(text, object_pairs_hook=once_each)
        except (ValueError, RecursionError) as error:
            raise RefusedError(f"{cls.KIND}: not readable JSON", culprits) from error
        if not isinstance(body, dict):
            raise RefusedError(f"{cls.KIND}: not a JSON object", culprits)
        return cls.from_json(cast("Json", body), sender)


_WORDS = {
    "extra_forbidden": "is not known here: leave it out",
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number, not in quotes",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}


def reason(error: ValidationError) -> str:
    """The first mistake in words, without the value: where, what is wrong and what would be right."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
    text = f"{place:.200} {_WORDS.get(first['type'], what)}".strip()
    return "".join(c if c.isprintable() else "?" for c in text)  # a name may be hostile


class Group(Wire):
    """The public part of a shared key, the same for all members.

    Attributes:
        threshold: how many members a signature needs, at least 2.
        key: the Ed25519 verification key of the group.
        members: identifier and verification share of each, in order of identifiers.
    """

    KIND = "frost-group/1"
    threshold: Annotated[int, Field(ge=2, le=MAX_SIGNERS)]
    key: PointBytes
    members: tuple[tuple[Identifier, PointBytes], ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """All verification shares and the key lie on one polynomial of degree threshold - 1.

        This is what vss_verify of RFC 9591 appendix C.2 gives each member, seen from outside.
        """
        identifiers = list(self.shares)
        if identifiers != sorted(identifiers) or len(identifiers) != len(self.members):
            raise ValueError("members are not in order, or one occurs twice")
        if self.threshold > len(identifiers):
            raise ValueError("the threshold is higher than the number of members")
        known = dict(self.members[: self.threshold])
        fewer = dict(self.members[: self.threshold - 1])
        if interpolate(known) != self.key or interpolate(fewer) == self.key:
            raise ValueError("the members' verification shares do not fit the key")
        for identifier, point in self.members[self.threshold :]:
            if interpolate(known, identifier) != point:
                raise ValueError(f"the share of member {identifier} is of another key")
        return self

    @property
    def shares(self) -> dict[int, Point]:
        """Verification share by identifier."""
        return dict(self.members)

    @property
    def verkey(self) -> str:
        """The key as an Indy ledger writes it: base58."""
        return base58.b58encode(self.key).decode()


class Share(Wire):
    """One member's secret share; it signs with others, never alone. Store it encrypted.

    Attributes:
        identifier: of the member.
        secret: never shown; `repr` leaves it out.
    """

    KIND = "frost-share/1"
    identifier: Identifier
    secret: SecretBytes = Field(repr=False)
    group: Group

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.group.shares.get(self.identifier) != times_base(self.secret):
            raise ValueError("the secret is not that of this member of this group")
        return self


class Commitment(Wire):
    """Round one of a signature: commitments to two nonces (RFC 9591 section 5.1). Public.

    Attributes:
        group: digest of the group; an older sharing of the same key is another group.
        session: identifies what is signed, for example a digest of the proposal; 32 bytes.
    """

    KIND = "frost-commitment/1"
    group: Digest
    session: Digest
    identifier: Identifier
    hiding: PointBytes
    binding: PointBytes


class Nonces(Wire):
    """The secret part of a commitment; together with the signature share it reveals the share."""

    KIND = "frost-nonces/1"
    commitment: Commitment
    hiding: SecretBytes = Field(repr=False)
    binding: SecretBytes = Field(repr=False)

    @model_validator(mode="after")
    def _opens(self) -> Self:
        committed = (self.commitment.hiding, self.commitment.binding)
        if (times_base(self.hiding), times_base(self.binding)) != committed:
            raise ValueError("the nonces do not open their commitment")
        return self


class SignatureShare(Wire):
    """Round two of a signature (RFC 9591 section 5.2). Public.

    Attributes:
        signed: digest of the message and the commitments; distinguishes a mistake from cheating.
    """

    KIND = "frost-signature-share/1"
    session: Digest
    identifier: Identifier
    signed: Digest
    response: ScalarBytes
