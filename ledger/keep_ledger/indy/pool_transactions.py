"""NODE transactions of a pool ledger: what one may be, and what they amount to, merged by node.

A node (`dest`) may have several: each later one changes the members that it names, as in an Indy
node and in indy-vdr. What one of them holds is checked against what indy-vdr can read, because on
anything else its 0.4 waits for ever; what they amount to is checked for each validator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Any, Literal, NoReturn

import base58
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from keep_ledger.errors import GenesisError

_MAX_NODES = 200
_KEY_BYTES = 32
_BLS_KEY_BYTES = 128
_DIGITS = re.compile(r"[0-9]{1,5}")
_BLANK = re.compile(r"\s*")
_ASK = "ask those who run the network for its pool transactions"
_OLD = "without it, it is perhaps of the form of before 2018, which Indy's nodes no longer read"


_OTHER = "this is perhaps the genesis of another ledger, such as domain_transactions_genesis"
_WRONG = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "less_than_equal": "must be 65535 or less",
}


def _sized(text: str, size: int) -> str:
    try:
        raw = base58.b58decode(text)
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is not base58") from error
    if len(raw) != size:
        raise ValueError(f"{text[:80]!r} has {len(raw)} bytes; a key has {size}")
    return text


def _key(text: str) -> str:
    """32 bytes in base58; another length makes indy-vdr 0.4 unusable for the whole process."""
    return _sized(text, _KEY_BYTES)


def _number(given: object) -> object:
    """A port; most real networks write it as text."""
    if not isinstance(given, str):
        return given
    if not _DIGITS.fullmatch(given):
        raise ValueError(f"{given[:80]!r} is not a port")
    return int(given)


Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Key = Annotated[Text, AfterValidator(_key)]
Port = Annotated[int, BeforeValidator(_number), Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Long = Annotated[int, Field(ge=0, lt=2**64)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Node(_Model):
    alias: Text
    client_ip: Text | None = None
    client_port: Port | None = None
    node_ip: Text | None = None
    node_port: Port | None = None
    blskey: Text | None = None
    blskey_pop: Text | None = None
    services: list[Text] | None = None


class _NodeData(_Model):
    data: _Node
    dest: Key
    verkey: Key | None = None


class _Author(_Model):
    author: Text = Field(alias="from")
    number: Long | None = Field(default=None, alias="reqId")


class _Txn(_Model):
    type: Literal["0"]
    data: _NodeData
    metadata: _Author
    protocol: Count | None = Field(default=None, alias="protocolVersion")


class _Position(_Model):
    seq_no: Count | None = Field(default=None, alias="seqNo")
    txn_id: str | None = Field(default=None, alias="txnId")
    created: Long | None = Field(default=None, alias="creationTime")


class _Signature(_Model):
    author: str | None = Field(default=None, alias="from")
    value: str | None = None


class _Signatures(_Model):
    type: str | None = None
    values: list[_Signature] | None = None


class _Line(_Model):
    txn: _Txn
    position: _Position = Field(alias="txnMetadata")
    signatures: _Signatures = Field(alias="reqSignature")
    ver: Literal["1"]


def objects(text: str) -> Iterator[tuple[int, str]]:
    """The JSON objects in a text, each in canonical form, with the line (from 1) on which it begins.

    Raises:
        GenesisError: there is something else between them.
    """
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at, line, end = 0, 1, len(text)
    while (start := _skip(text, at)) < end:
        line += text.count("\n", at, start)
        try:
            one, at = decoder.raw_decode(text, start)
            canonical = json.dumps(one, sort_keys=True, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise _refusal(line, f"is not JSON ({error}); {_ASK}") from error
        if not isinstance(one, dict):
            raise _refusal(line, f"is not a transaction, a JSON object; {_ASK}")
        yield line, canonical
        line += text.count("\n", start, at)


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


@dataclass(slots=True)
class _Known:
    """A node so far: its members, and the line that last gave each."""

    members: dict[str, Any] = field(default_factory=dict[str, Any])
    lines: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, node: _Node, line: int) -> None:
        named = node.model_dump(exclude_none=True)
        self.members |= named
        self.lines |= dict.fromkeys(named, line)


def merged(transactions: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """Merge NODE transactions by node and check what they amount to.

    Args:
        transactions: JSON texts, each with the line on which it stands, for refusals.

    Returns:
        The names of the validators.

    Raises:
        GenesisError: one is not a NODE transaction, or a validator cannot be used; says line and member.
    """
    nodes: dict[str, _Known] = {}
    for number, (line, one) in enumerate(transactions, 1):
        data = _read(line, number, one)
        known = nodes.setdefault(data.dest, _Known())
        name = known.members.get("alias", data.data.alias)
        if name != data.data.alias:
            raise _refusal(
                line,
                f"txn.data.data.alias: this node is {name!r} in line {known.lines['alias']} and"
                f" {data.data.alias!r} here; a node keeps its name; {_ASK}",
            )
        known.take(data.data, line)
    validators = [
        one for one in nodes.values() if "VALIDATOR" in one.members.get("services", ())
    ]
    if not 0 < len(validators) <= _MAX_NODES:
        raise GenesisError(
            f"a genesis has 1 to {_MAX_NODES} nodes that are validators, this one has"
            f" {len(validators)} (and {len(nodes) - len(validators)} others); {_ASK}"
        )
    names: dict[str, int] = {}
    for validator in validators:
        _check(validator)
        name, line = validator.members["alias"], validator.lines["alias"]
        if name in names:
            raise _refusal(
                line,
                f"txn.data.data.alias: the genesis names a node twice, {name!r} is another one in"
                f" line {names[name]}; {_ASK}",
            )
        names[name] = line
    return tuple(names)


def _read(line: int, number: int, text: str) -> _NodeData:
    try:
        read = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = _WRONG.get(first["type"], first["msg"].removeprefix("Value error, "))
        if (where, first["type"]) == ("txn", "missing"):
            what += f"; {_OLD}"
        if where == "txn.type":
            what = f"must be '0'; {_OTHER}"
        raise _refusal(line, f"{where}: {what}; {_ASK}") from error
    if read.position.seq_no not in (None, number):
        raise _refusal(
            line,
            f"txnMetadata.seqNo: is the sequence number {read.position.seq_no}, but this is"
            f" transaction {number}: transactions are missing, or in another order; {_ASK}",
        )
    return read.txn.data


def _check(validator: _Known) -> None:
    """Check that clients can use a validator; indy-vdr would leave it out or wait for ever."""
    for member, check in _CHECKS.items():
        value = validator.members.get(member)
        line = validator.lines.get(member, validator.lines["services"])
        if value is None and member == "blskey":
            continue  # it does not sign states; others do, or several must agree
        try:
            check(value)
        except ValueError as error:
            name = validator.members["alias"]
            raise _refusal(
                line, f"txn.data.data.{member} of the validator {name!r}: {error}; {_ASK}"
            ) from error


def _usable_address(value: str | None) -> None:
    """Indy nodes demand an IP address; indy-vdr 0.4 may hang for ever on anything else."""
    if value is None:
        raise ValueError("is missing")
    try:
        ip_address(value)
    except ValueError as error:
        raise ValueError(f"{value[:80]!r} is not an IP address") from error


def _usable_port(value: int | None) -> None:
    if not value:
        raise ValueError("is missing")


def _usable_bls_key(value: str) -> None:
    _sized(value, _BLS_KEY_BYTES)


_CHECKS: dict[str, Callable[[Any], None]] = {
    "client_ip": _usable_address,
    "client_port": _usable_port,
    "node_ip": _usable_address,
    "node_port": _usable_port,
    "blskey": _usable_bls_key,
}


def _refusal(line: int, what: str) -> GenesisError:
    return GenesisError(f"genesis line {line}: {what}")
