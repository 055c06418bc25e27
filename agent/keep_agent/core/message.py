"""Messages as they travel: types, decorators, ack, problem report (Aries RFC 0003, 0008, 0017, 0044)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any, ClassVar, Self, cast
from uuid import uuid4

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import to_json

from keep_agent.core.untrusted_text import MOST_READ, sanitize_text
from keep_agent.errors import BadMessageError

PREFIX = "https://didcomm.org/"
OLD_PREFIX = "did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/"
MAX_DEPTH = 64
MAX_DIGITS = 100
MAX_PARTS = 5_000
"""How many objects and lists one JSON text may hold: each costs as much as fifty numbers."""
MAX_ITEMS = 50_000
"""How many values one JSON text may hold, about."""
MOST_ATTACHED = 16
MAX_MESSAGE = 2 << 20
"""Bytes of the longest message, as JSON and not yet encrypted: a credential with a picture of 1 MiB fits."""

LARGE = 64 << 10
"""Bytes; what is longer is encrypted, decoded and parsed in threads: 2 MB take 50 ms (SEC-R01)."""

Json = dict[str, Any]
Id = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]
"""A message or thread id: any short printable text (RFC 0008)."""

_TYPE = re.compile(
    r"([a-z][a-z0-9_.-]{0,62})/([0-9]{1,4})\.([0-9]{1,4})/([A-Za-z][A-Za-z0-9_.-]{0,62})"
)
_WIRE_NAMES = {
    "id": "@id",
    "thread": "~thread",
    "please_ack": "~please_ack",
    "timing": "~timing",
    "transport": "~transport",
    "service": "~service",
    "l10n": "~l10n",
    "mime_type": "mime-type",
    "fix_hint": "fix-hint-ltxt",
}


@dataclass(frozen=True, slots=True)
class Received:
    """An unpacked message and what its envelope proves.

    Attributes:
        body: the plaintext, parsed by `read_json`; nothing else of it is checked yet.
        sender: base58 Ed25519 key that authcrypted it; None for anoncrypt: anybody can have written it.
        recipient: base58 Ed25519 key of ours that opened it.
        large: its envelope was longer than `LARGE`.
    """

    body: Json = field(repr=False)
    sender: str | None
    recipient: str
    large: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class TypeUri:
    """The parts of a message type URI: `https://didcomm.org/{family}/{major}.{minor}/{name}`."""

    family: str
    major: int
    minor: int
    name: str

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a type URI with today's or the old prefix (RFC 0003, 0348).

        Raises:
            BadMessageError: it is not a message type URI with a known prefix.
        """
        if isinstance(text, str):
            for prefix in (PREFIX, OLD_PREFIX):
                match = text.startswith(prefix) and _TYPE.fullmatch(text, len(prefix))
                if match:
                    return cls(match[1], int(match[2]), int(match[3]), match[4])
        raise BadMessageError("@type is not a message type URI")

    @property
    def is_report(self) -> bool:
        """Whether it is a problem report, of whatever family (RFC 0035)."""
        return is_report(self.name)

    @property
    def protocol(self) -> str:
        """`family/major`: what must match to speak the same protocol (RFC 0003)."""
        return f"{self.family}/{self.major}"


def new_id() -> str:
    """Return a fresh message id."""
    return str(uuid4())


def wire_name(name: str) -> str:
    """Return the JSON key of a field: `offers__attach` is `offers~attach`."""
    return _WIRE_NAMES.get(name) or name.replace("__", "~")


class Wire(BaseModel):
    """Base of everything inside a message: frozen, and unknown fields are ignored (RFC 0044).

    A member that is null counts as absent, here and nowhere else. What a message only carries is no
    `Wire`, and nothing is left out of it: contents of attachments, signatures, DID documents (SEC-P32).
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, alias_generator=wire_name
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        if isinstance(value, dict) and None in (members := cast("Json", value)).values():
            return {name: member for name, member in members.items() if member is not None}
        return value  # pyright: ignore[reportUnknownVariableType]


OptionalId = Annotated[Id | None, BeforeValidator(lambda value: None if value == "" else value)]
"""An id that may be absent; some peers write an empty text then."""


class Thread(Wire):
    """The `~thread` decorator (RFC 0008)."""

    thid: OptionalId = None
    pthid: OptionalId = None


def thread_decorator(body: Json) -> Json:
    """Return the `~thread` of a message that is not parsed yet; empty where it has none."""
    thread = body.get("~thread")
    return cast("Json", thread) if isinstance(thread, dict) else {}


class AttachmentData(Wire):
    """The content of an attachment: the parts of RFC 0017 that we read."""

    base64: str | None = None
    json_: Any = Field(default=None, alias="json")
    jws: Json | None = None

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.base64 is None) == (self.json_ is None):
            raise ValueError("data needs exactly one of base64 and json")
        return self


class Attachment(Wire):
    """An attached object, inline (RFC 0017); links are never fetched."""

    id: Id = Field(default_factory=new_id)
    mime_type: str | None = None
    data: AttachmentData

    @classmethod
    def of(cls, content: object, *, id: str | None = None) -> Self:  # noqa: A002 - RFC's word
        """Attach a JSON value as base64, the form that every peer reads."""
        data = AttachmentData(base64=base64.b64encode(write_json(content)).decode())
        return cls(id=id or new_id(), mime_type="application/json", data=data)

    @property
    def raw(self) -> bytes:
        """The attached bytes; base64 and base64url, padded or not, occur in the field.

        Raises:
            BadMessageError: it is not base64.
        """
        if self.data.base64 is None:
            return write_json(self.data.json_)
        return read_base64(without_blanks(self.data.base64))

    @property
    def content(self) -> Any:
        """The attached JSON value.

        Raises:
            BadMessageError: it is not strict JSON (see `read_json`).
        """
        return read_json(self.raw) if self.data.base64 is not None else self.data.json_

    async def read(self) -> Any:
        """Return `content`; a long one is decoded outside the event loop (SEC-R01)."""
        if len(self.data.base64 or "") > LARGE:
            return await asyncio.to_thread(lambda: self.content)
        return self.content


Attachments = Annotated[tuple[Attachment, ...], Field(max_length=MOST_ATTACHED, fail_fast=True)]
"""The attachments of one message. Reading a list ends at its first wrong item."""


class Message(Wire):
    """Base of every DIDComm v1 message; a subclass names its `TYPE`."""

    TYPE: ClassVar[str]

    id: Id = Field(default_factory=new_id)
    thread: Thread = Thread()
    please_ack: Json | None = None
    service: Json | None = None

    @property
    def thid(self) -> str:
        """The thread that this message belongs to; a message with no thread starts its own."""
        return self.thread.thid or self.id

    @staticmethod
    def thread_of(body: Json) -> str:
        """Return the thread id of a message that is not parsed yet.

        Raises:
            BadMessageError: it has none, and no id.
        """
        found = thread_decorator(body).get("thid") or body.get("@id")
        if not isinstance(found, str):
            raise BadMessageError("the message needs an @id that is text")
        return found

    def wire(self, uri: str | None = None) -> Json:
        """Return the JSON object to pack; `uri` is the type in the version that the peer speaks."""
        body = self.model_dump(by_alias=True, exclude_none=True, mode="json")
        if not body["~thread"]:
            del body["~thread"]
        return {"@type": uri or self.TYPE, **body}


class Ack(Message):
    """The message was received and accepted (RFC 0015); protocols adopt it under their own type."""

    status: str = "OK"

    @property
    def pending(self) -> bool:
        """Whether another ack is to come: it ends nothing."""
        return self.status.strip().upper() == "PENDING"

    @property
    def failed(self) -> bool:
        """Whether it says that it failed."""
        return self.status.strip().upper() == "FAIL"


class Description(Wire):
    """What went wrong, for people (`en`) and programs (`code`)."""

    en: str | None = None
    code: str | None = None


class ProblemReport(Message):
    """Something went wrong (RFC 0035); protocols adopt it under their own type.

    Whatever its shape, it is read: a report that does not parse would leave its exchange open.
    """

    TYPE: ClassVar[str] = f"{PREFIX}notification/1.0/problem-report"
    description: Description = Description()

    @classmethod
    def of(cls, code: str, words: str | None = None) -> Self:
        """Report a problem by its code, and in words for people."""
        return cls(description=Description(code=code, en=words or code))

    @model_validator(mode="before")
    @classmethod
    def _any_shape(cls, value: object) -> object:
        body = cast("Json", value)
        if not isinstance(value, dict) or isinstance(body.get("description"), Description):
            return body
        thread = {k: v for k, v in thread_decorator(body).items() if isinstance(v, str)}
        name = body.get("@id")
        return {
            "~thread": thread,
            "description": _described(body),
            **({"@id": name} if isinstance(name, str) and name else {}),
        }

    @property
    def code(self) -> str:
        """The code, or the words where the peer gave no code."""
        return self.description.code or self.description.en or "unknown"

    @property
    def words(self) -> str:
        """What the peer says, fit to be shown: an untrusted claim of that peer (SEC-O01)."""
        code, words = sanitize_text(self.description.code), sanitize_text(self.description.en)
        if code and words and code != words:
            return f"{words} ({code})"
        return words or code or "a problem, without saying which"


def is_report(name: str) -> bool:
    """Whether the last part of a message type is that of a problem report; two spellings occur."""
    return name.lower().replace("_", "-") == "problem-report"


def _described(body: Json) -> Json:
    """Return code and words of a problem report: in the shape of RFC 0035, or of older agents."""
    told = body.get("description")
    fields = cast("Json", told) if isinstance(told, dict) else {"en": told}
    other = {name: value for name, value in fields.items() if name != "code"}
    codes = (fields.get("code"), body.get("problem-code"))
    words = (fields.get("en"), other, *(body.get(name) for name in _OLD_WORDS))
    return {"code": _first_text(codes), "en": _first_text(words)}


_OLD_WORDS = (
    *("explain", "explain-ltxt", "explain@l10n", "comment"),
    *("problem_items", "problem-items", "fix_hint", "fix-hint"),
)


def _first_text(values: Iterable[object]) -> str | None:
    return next((text for text in map(_text_in, values) if text), None)


def _text_in(value: object, depth: int = 0) -> str:
    """Return what a text, a number, or a list or object of such says; bounded."""
    if isinstance(value, str | int | float):
        return str(value)[:MOST_READ].strip()
    if not isinstance(value, dict | list) or depth == _DEEPEST_TEXT:
        return ""
    parts = cast("dict[str, object] | list[object]", value)
    inner = islice(parts.values() if isinstance(parts, dict) else parts, _MOST_TEXTS)
    return " ".join(filter(None, (_text_in(each, depth + 1) for each in inner)))[:MOST_READ]


_DEEPEST_TEXT, _MOST_TEXTS = 2, 8


def without_blanks(text: str) -> str:
    """Return a text without white space: base64 that travels as text comes in lines, too."""
    return "".join(text.split())


def read_base64(text: str) -> bytes:
    """Decode base64 or base64url, padded or not.

    Raises:
        BadMessageError: it is neither.
    """
    try:
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadMessageError("this is not base64 or base64url") from error


def write_json(value: object) -> bytes:
    """Write JSON as it travels and is stored: UTF-8, as short as can be."""
    return to_json(value)


def read_json(raw: bytes) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate keys, no NaN, no deep nesting, no huge numbers.

    What it holds is counted before it is parsed, so that no text stalls the event loop; a bracket
    or comma in a string counts too.

    Raises:
        BadMessageError: it breaks one of those rules.
    """
    parts = raw.count(b"[") + raw.count(b"{")
    if parts > MAX_PARTS or raw.count(b",") > MAX_ITEMS:
        raise BadMessageError("JSON holds too many values")
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_finite,
        )
        if b"\\u" in raw:  # only an escape can hold a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise BadMessageError("body is not JSON") from error
    if parts > MAX_DEPTH:
        _limit_depth(value, MAX_DEPTH)
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadMessageError("JSON object names a key twice")
    return found


def _no_constant(name: str) -> float:
    raise BadMessageError(f"{name} is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise BadMessageError("JSON number has too many digits")
    return int(digits)


def _finite(digits: str) -> float:
    if len(digits) > MAX_DIGITS:
        raise BadMessageError("JSON number has too many digits")
    number = float(digits)
    if math.isinf(number):
        raise BadMessageError("JSON number is too large")
    return number


def _limit_depth(value: object, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise BadMessageError("JSON nests too deep")
    whole = cast("dict[str, object] | list[object]", value)
    for inner in whole.values() if isinstance(whole, dict) else whole:
        if isinstance(inner, dict | list):
            _limit_depth(cast("object", inner), left - 1)
