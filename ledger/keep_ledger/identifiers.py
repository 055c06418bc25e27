"""Ids of Indy objects in both forms, and how they correspond.

did:indy method specification: `did:indy:<namespace>:<id>` and, below it,
`/anoncreds/v0/SCHEMA/<name>/<version>` and `/anoncreds/v0/CLAIM_DEF/<schema seqNo>/<tag>`. The older,
unqualified forms name no network: `<id>` (or `did:sov:<id>`), `<id>:2:<name>:<version>`,
`<id>:3:CL:<schema seqNo>:<tag>`. Names, versions and tags are taken as they stand: nothing is
percent-decoded or cut off, as in the field.

Names and tags with `: / ? #` or blanks at their ends are on real ledgers. They can be read, in one way
only: a version has none of these, so it begins after the last separator, and a tag is all that follows
the number. We make no such names ourselves (`check_new_part`): others cut or split them elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import base58

from keep_ledger.errors import BadIdError

_NAMESPACE = re.compile(r"[a-z][a-z0-9_-]{0,62}(:[a-z0-9][a-z0-9_-]{0,62})?")
_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{16,44}")
_PART = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")
_SPLITS = re.compile(r"[:/?#]")
_SEQ_NO = re.compile(r"[1-9][0-9]{0,9}")
_OBJECTS = "/anoncreds/v0/"
_DID_BYTES = 16
_VERKEY_BYTES = 32
_MAX_SEQ_NO = 2**31 - 1


def _bytes(text: str, size: int) -> bytes | None:
    """Base58 text of exactly `size` bytes, else None."""
    if not _BASE58.fullmatch(text):
        return None
    raw = _decoded(text)
    return raw if len(raw) == size else None


@lru_cache(maxsize=1024)
def _decoded(text: str) -> bytes:
    """Decode base58; the same few ids are decoded again and again, 20 times for one proof."""
    return base58.b58decode(text)


def check_namespace(text: str) -> str:
    """Check the name of a network, for example `sovrin` or `bcovrin:test`, and return it.

    Raises:
        BadIdError: it is not a namespace.
    """
    if not _NAMESPACE.fullmatch(text):
        raise BadIdError(f"{text[:80]!r} is not a did:indy namespace")
    return text


def check_part(text: str, what: str) -> str:
    """Check the name of a schema or a tag that is read from a ledger, and return it.

    Raises:
        BadIdError: empty, longer than 256, or with a control character.
    """
    if not _PART.fullmatch(text):
        raise BadIdError(
            f"{text[:80]!r} cannot be a {what}: it has 1 to 256 characters and no control character"
        )
    return text


def check_new_part(text: str, what: str) -> str:
    """Check a name, version or tag that we give ourselves: everybody must read it alike in an id.

    Raises:
        BadIdError: as `check_part`; or with one of `: / ? #`, or a blank at an end.
    """
    check_part(text, what)
    if found := _SPLITS.search(text):
        raise BadIdError(
            f"{text[:80]!r} cannot be a new {what}: leave out {found.group()!r}, at which others"
            " split or cut ids (':', '/', '?', '#')"
        )
    if text != text.strip():
        raise BadIdError(
            f"{text[:80]!r} cannot be a new {what}: leave out the blanks at its ends"
        )
    return text


def full_verkey(verkey: str, did: str) -> str:
    """Return the 32-byte key in base58; an abbreviated one (`~...`) completes the DID.

    Args:
        verkey: full or abbreviated.
        did: the bare id that the abbreviation belongs to.

    Raises:
        BadIdError: not a key of 32 bytes.
    """
    if verkey.startswith("~"):
        tail = _bytes(verkey[1:], _VERKEY_BYTES - _DID_BYTES)
        if tail is not None:
            return base58.b58encode(base58.b58decode(did) + tail).decode()
    elif _bytes(verkey, _VERKEY_BYTES) is not None:
        return verkey
    raise BadIdError(f"{verkey[:80]!r} is not an Ed25519 verification key")


@dataclass(frozen=True, slots=True)
class Did:
    """A DID on an Indy ledger.

    Attributes:
        id: base58 of 16 bytes.
        namespace: the network; None if the text did not name one.
    """

    id: str
    namespace: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `did:indy:<namespace>:<id>`, `did:sov:<id>` or the bare id.

        Raises:
            BadIdError: it has none of the three forms.
        """
        namespace, bare = None, text
        if text.startswith("did:indy:"):
            namespace, _, bare = text.removeprefix("did:indy:").rpartition(":")
            check_namespace(namespace)
        elif text.startswith("did:sov:"):
            bare = text.removeprefix("did:sov:")
        if _bytes(bare, _DID_BYTES) is None:
            raise BadIdError(f"{text[:120]!r} is not a DID of an Indy ledger")
        return cls(bare, namespace)

    def at(self, namespace: str | None) -> Self:
        """The same DID in that network; None takes the network away."""
        return replace(self, namespace=namespace)

    def __str__(self) -> str:
        return f"did:indy:{self.namespace}:{self.id}" if self.namespace else self.id


@dataclass(frozen=True, slots=True)
class SchemaId:
    """The id of a schema: who wrote it, its name and its version."""

    did: Did
    name: str
    version: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read either form.

        Raises:
            BadIdError: it is not a schema id.
        """
        no_schema = f"{text[:300]!r} is not a schema id"
        try:
            did, kind, separator, rest = _split(text)
        except BadIdError as error:
            raise BadIdError(no_schema) from error
        name, _, version = rest.rpartition(separator)
        if kind != "SCHEMA" or not name:
            raise BadIdError(no_schema)
        return cls(did, check_part(name, "name"), check_new_part(version, "version"))

    def at(self, namespace: str | None) -> Self:
        """The same schema in that network; None gives the old form."""
        return replace(self, did=self.did.at(namespace))

    def __str__(self) -> str:
        if self.did.namespace:
            return f"{self.did}{_OBJECTS}SCHEMA/{self.name}/{self.version}"
        return f"{self.did}:2:{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class CredDefId:
    """The id of a credential definition.

    Attributes:
        schema_seq_no: where the schema stands in the domain ledger, from 1.
    """

    did: Did
    schema_seq_no: int
    tag: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read either form.

        Raises:
            BadIdError: it is not a credential definition id, or one of the oldest form, which holds
                a whole schema id in the place of its sequence number.
        """
        did, kind, separator, rest = _split(text)
        number, _, tag = rest.partition(separator)
        if kind != "CLAIM_DEF" or not _SEQ_NO.fullmatch(number):
            raise BadIdError(f"{text[:300]!r} is not a credential definition id")
        if int(number) > _MAX_SEQ_NO:
            raise BadIdError(f"{text[:300]!r} has an impossible sequence number")
        return cls(did, int(number), check_part(tag, "tag"))

    def at(self, namespace: str | None) -> Self:
        """The same definition in that network; None gives the old form."""
        return replace(self, did=self.did.at(namespace))

    def __str__(self) -> str:
        if self.did.namespace:
            return f"{self.did}{_OBJECTS}CLAIM_DEF/{self.schema_seq_no}/{self.tag}"
        return f"{self.did}:3:CL:{self.schema_seq_no}:{self.tag}"


Identifier = Did | SchemaId | CredDefId


def local(did: Did, namespace: str) -> Did:
    """The DID in that network.

    Raises:
        BadIdError: it names another network.
    """
    if did.namespace not in (None, namespace):
        raise BadIdError(f"{did} is not of the network {namespace}")
    return did.at(namespace)


def _split(text: str) -> tuple[Did, str, str, str]:
    """The DID, the kind of object, what separates its parts, and those parts.

    The kind is SCHEMA, CLAIM_DEF or something else.
    """
    if text.startswith("did:indy:"):
        did, _, path = text.partition(_OBJECTS)
        kind, _, rest = path.partition("/")
        return Did.parse(did), kind, "/", rest
    did, _, path = text.partition(":")
    for prefix, kind in (("2:", "SCHEMA"), ("3:CL:", "CLAIM_DEF")):
        if path.startswith(prefix):
            return Did.parse(did), kind, ":", path.removeprefix(prefix)
    return Did.parse(did), path, ":", ""


def parse(text: str) -> Identifier:
    """Read the id of a DID, schema or credential definition in any of its forms.

    Raises:
        BadIdError: it is not an id of Indy.
    """
    if text.startswith("did:sov:"):
        return Did.parse(text)
    match _split(text)[1]:
        case "SCHEMA":
            return SchemaId.parse(text)
        case "CLAIM_DEF":
            return CredDefId.parse(text)
        case _:
            return Did.parse(text)


def qualify(text: str, namespace: str) -> str:
    """Write an id in its did:indy form; one that names a network already stays as it is.

    Raises:
        BadIdError: it is not an id of Indy.
    """
    found = parse(text)
    did = found if isinstance(found, Did) else found.did
    return str(found) if did.namespace else str(found.at(namespace))


def unqualify(text: str) -> str:
    """Write an id in its old form, which names no network.

    Raises:
        BadIdError: it is not an id of Indy.
    """
    return str(parse(text).at(None))
