"""What can be written to an Indy ledger: a closed union, checked when made, with a JSON round trip.

Limits are those of indy-node's request validation, checked here so that nobody signs a bad write. Text
must not have `|`, nor an attribute name `,`: Indy's signing input uses them as separators, so two
different requests would have the same signature.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self, cast
from urllib.parse import urlsplit

from keep_ledger.codes import Role
from keep_ledger.errors import BadIdError, BadWriteError
from keep_ledger.identifiers import Did, SchemaId, check_new_part, full_verkey
from keep_ledger.json_object import Json

_VERSION = re.compile(r"[0-9]{1,10}(\.[0-9]{1,10}){1,2}")
_MAX_ATTRIBUTES = 125
_MAX_NAME = 256
_MAX_RAW = 5 * 1024


def _check_did(did: str) -> Did:
    try:
        return Did.parse(did)
    except BadIdError as error:
        raise BadWriteError(str(error)) from error


def _check_key(verkey: str, did: str) -> None:
    try:
        full = full_verkey(verkey, _check_did(did).id)
    except BadIdError as error:
        raise BadWriteError(str(error)) from error
    if full != verkey:
        raise BadWriteError("give the full verkey, not its abbreviation")


def check_name(text: str, what: str) -> None:
    """Check the name of a schema or a tag that is to be written.

    Raises:
        BadWriteError: the ledger or another agent would read it otherwise.
    """
    try:
        check_new_part(text, what)
    except BadIdError as error:
        raise BadWriteError(str(error)) from error
    if "|" in text:
        raise BadWriteError(
            f"{text[:80]!r} cannot be a new {what}: leave out '|', which Indy's signing input"
            " uses as a separator"
        )


def _check_twins(names: Iterable[str]) -> None:
    """Refuse what AnonCreds signs as one attribute: it drops spaces and case."""
    seen: dict[str, str] = {}
    for name in names:
        common = name.replace(" ", "").lower()
        first = seen.get(common)
        if first is not None:
            raise BadWriteError(
                f"{first[:80]!r} and {name[:80]!r} are one attribute, named twice: spaces and case"
                " do not count; give one another name"
            )
        seen[common] = name


def _check_attribute(name: str) -> None:
    if not name.strip():
        raise BadWriteError("an attribute has no name: give it one, or leave it out")
    if len(name) > _MAX_NAME:
        raise BadWriteError(
            f"the attribute name {name[:80]!r}... has {len(name)} characters; {_MAX_NAME} is the most"
        )
    for mark in ",|":
        if mark in name:
            raise BadWriteError(
                f"{name[:80]!r} cannot be an attribute name: leave out {mark!r}, which Indy's signing"
                " input uses as a separator"
            )


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    seen = url.isprintable() and not any(c.isspace() for c in url)
    return bool(seen and parts.scheme and parts.netloc)


@dataclass(frozen=True, slots=True)
class WriteNym:
    """NYM: register a DID, or give it a role.

    Attributes:
        alias: a name for people; not in the state, so it cannot be read back with a proof.
    """

    did: str
    verkey: str
    role: Role | None = None
    alias: str | None = None

    def __post_init__(self) -> None:
        _check_key(self.verkey, self.did)
        if self.alias is not None and (
            not 0 < len(self.alias) <= _MAX_NAME or "|" in self.alias
        ):
            words = f"an alias has 1 to {_MAX_NAME} characters and no '|'"
            raise BadWriteError(f"{self.alias[:80]!r} cannot be an alias: {words}")


@dataclass(frozen=True, slots=True)
class WriteVerkey:
    """NYM of a DID that is on the ledger: change its key. Signed with the old key."""

    did: str
    verkey: str

    def __post_init__(self) -> None:
        _check_key(self.verkey, self.did)


@dataclass(frozen=True, slots=True)
class WriteAttrib:
    """ATTRIB: attach public data to a DID.

    Attributes:
        raw: JSON text of an object with one member, whose name is the attribute's; at most 5 KiB.
    """

    did: str
    raw: str

    def __post_init__(self) -> None:
        _check_did(self.did)
        try:
            body: Any = json.loads(self.raw)
        except ValueError as error:
            raise BadWriteError("an attribute must be JSON text") from error
        if not isinstance(body, dict) or len(cast("Json", body)) != 1:
            raise BadWriteError("an attribute must be an object with exactly one member")
        if len(self.raw.encode()) > _MAX_RAW:
            raise BadWriteError(f"an attribute may have at most {_MAX_RAW} bytes")

    @property
    def name(self) -> str:
        """The attribute's name, by which it is read."""
        (name,) = json.loads(self.raw)
        return str(name)

    @classmethod
    def endpoint(cls, did: str, url: str, routing_keys: tuple[str, ...] = ()) -> Self:
        """The attribute that says where the agent of this DID is reached.

        Raises:
            BadWriteError: `url` is not an absolute URL.
        """
        if not _is_absolute(url):
            words = "is not an absolute URL without blanks, like https://agent.example/didcomm"
            raise BadWriteError(f"{url[:200]!r} {words}")
        value: Json = {"endpoint": url}
        if routing_keys:
            value["routingKeys"] = list(routing_keys)
        return cls(did, json.dumps({"endpoint": value}))


@dataclass(frozen=True, slots=True)
class WriteSchema:
    """SCHEMA: fix the attribute names of a kind of credential; it cannot be changed."""

    issuer_id: str
    name: str
    version: str
    attr_names: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_did(self.issuer_id)
        check_name(self.name, "name")
        if not _VERSION.fullmatch(self.version):
            raise BadWriteError(f"{self.version!r} is not a version like 1.0 or 1.0.2")
        if not 0 < len(self.attr_names) <= _MAX_ATTRIBUTES:
            raise BadWriteError(f"a schema has 1 to {_MAX_ATTRIBUTES} attributes")
        _check_twins(self.attr_names)
        for name in self.attr_names:
            _check_attribute(name)

    @property
    def id(self) -> str:
        """The id that it will have, in the form of `issuer_id`."""
        return str(SchemaId(_check_did(self.issuer_id), self.name, self.version))


@dataclass(frozen=True, slots=True)
class WriteCredDef:
    """CRED_DEF: publish an issuer's keys for one schema.

    Attributes:
        value: JSON text of the public keys, as `value` in AnonCreds' credential definition.
    """

    issuer_id: str
    schema_id: str
    tag: str
    value: str

    def __post_init__(self) -> None:
        _check_did(self.issuer_id)
        check_name(self.tag, "tag")
        try:
            SchemaId.parse(self.schema_id)
            body: Any = json.loads(self.value)
        except ValueError as error:
            raise BadWriteError(f"schema_id or value: {error}") from error
        if not isinstance(body, dict) or "primary" not in body:
            raise BadWriteError("the value of a credential definition must have a primary key")

    @classmethod
    def from_anoncreds(cls, body: Json) -> Self:
        """Take the object that an AnonCreds library made.

        Raises:
            BadWriteError: it is not a credential definition of type CL.
        """
        try:
            if body["type"] != "CL":
                raise BadWriteError("only credential definitions of type CL can be written")
            keys = {name: key for name, key in body["value"].items() if key is not None}
            value = json.dumps(keys)
            return cls(body["issuerId"], body["schemaId"], body["tag"], value)
        except (KeyError, TypeError, AttributeError) as error:
            raise BadWriteError(f"not a credential definition: {error}") from error


Write = WriteNym | WriteVerkey | WriteAttrib | WriteSchema | WriteCredDef

_KINDS: dict[str, type[Write]] = {
    "nym": WriteNym,
    "verkey": WriteVerkey,
    "attrib": WriteAttrib,
    "schema": WriteSchema,
    "cred_def": WriteCredDef,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def target(write: Write) -> str:
    """The DID that the write is about: it decides which network it belongs to."""
    return write.issuer_id if isinstance(write, WriteSchema | WriteCredDef) else write.did


def write_to_json(write: Write) -> Json:
    """Write it as an object of plain JSON values, with its `kind`."""
    return {"kind": _NAMES[type(write)]} | dataclasses.asdict(write)


def write_from_json(body: Json) -> Write:
    """Read back what `write_to_json` wrote.

    Raises:
        BadWriteError: it is not a write, or breaks a limit.
    """
    members = dict(body)
    try:
        kind = _KINDS[members.pop("kind")]
        if "attr_names" in members:
            members["attr_names"] = tuple(members["attr_names"])
        if members.get("role") is not None:
            members["role"] = Role(members["role"])
        return kind(**members)
    except BadWriteError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadWriteError(f"not a write: {error}") from error
