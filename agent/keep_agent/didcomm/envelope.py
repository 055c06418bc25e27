"""Envelopes: authcrypt, anoncrypt and forward of DIDComm v1 (Aries RFC 0019, 0094)."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from aries_askar import AskarError, Key, KeyAlg, crypto_box

from keep_agent.core.message import (
    LARGE,
    MAX_MESSAGE,
    PREFIX,
    Json,
    Received,
    TypeUri,
    new_id,
    read_base64,
    read_json,
    write_json,
)
from keep_agent.errors import TOO_LONG, BadEnvelopeError, BadMessageError, RefusedError
from keep_agent.identity.keys import LocalKey, exchange_key, looks_like_key, to_verkey

MAX_PACKED = 5 * 2**20
"""A message of `MAX_MESSAGE` bytes behind two mediators."""
MAX_PROTECTED = 64 * 2**10
MAX_ITEMS = 50_000
ENVELOPE_ITEMS = 16  # four members of base64, which has no commas or brackets
MAX_RECIPIENTS = 32
MAX_FORWARDS = 3
MAX_HOPS = 4
"""How many mediators a message of ours may have; each makes it a third longer."""

_ENC = (
    "xchacha20poly1305_ietf"  # the name of RFC 0019; the cipher itself has a nonce of 12 bytes
)
_ENCS = frozenset({_ENC, "chacha20poly1305_ietf"})
_TYP = "JWM/1.0"
_PARTS = ("protected", "iv", "ciphertext", "tag")
_CHANGE = ("crit", "zip")
_AUTHCRYPT = "Authcrypt"
_ANONCRYPT = "Anoncrypt"
_CEK_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 12, 16
_BOX_NONCE_BYTES, _BOX_EXTRA, _SEAL_EXTRA = 24, 16, 48
_FORWARD = f"{PREFIX}routing/1.0/forward"
_ENVELOPE_BYTES, _HEADER_BYTES, _FORWARD_BYTES = 96, 80, 178
_AUTHCRYPT_BYTES, _ANONCRYPT_BYTES = 340, 200
"""What JSON adds: to an envelope, to its header, by a forward; for each recipient of either kind."""

Find = Callable[[str], Awaitable[LocalKey | None]]
"""Returns our key of a verkey, or None: `Keys.load` of the tenant that received the message."""


Opened = tuple[Json, str | None]
"""A message and the verkey that encrypted it."""

Where = Callable[[Callable[[], Opened]], Awaitable[Opened]]
"""Runs the work of opening one layer: directly, or in a thread."""


class NotForUsError(BadEnvelopeError):
    """Well-formed, but not for a key of ours."""


class ForwardedElsewhereError(NotForUsError):
    """A forward to another agent; dropped and counted, without an answer (SEC-E05)."""


def pack(message: bytes, to: Sequence[str], sender: LocalKey | None) -> bytes:
    """Encrypt a message to all of `to`: authcrypt from `sender`, or anoncrypt.

    Args:
        message: the plaintext, a JSON object.
        to: base58 Ed25519 keys, at least one.
        sender: the key that authenticates it; None: the receiver does not learn who wrote it.

    Raises:
        BadMessageError: one of the keys is not a key.
    """
    return _dump(_pack(message, to, sender))


def seal(
    message: bytes, to: Sequence[str], sender: LocalKey | None, routing_keys: Sequence[str]
) -> bytes:
    """Pack a message and wrap it into one anoncrypted forward for each mediator.

    Its size is checked before anything is encrypted (SEC-R 01); see `sealed_size`.

    Args:
        message: the plaintext, a JSON object.
        to: base58 Ed25519 keys, at least one; mediators know the recipient by the first.
        sender: as for `pack`; the forwards are always anoncrypted.
        routing_keys: base58 keys from the recipient's end to ours (RFC 0067), so the result is
            sent to the last one.

    Raises:
        BadMessageError: one of the keys is not a key.
        RefusedError: too many recipients or mediators, or it would be too long.
    """
    if len(to) > MAX_RECIPIENTS:
        raise RefusedError(
            f"a message may have {MAX_RECIPIENTS} recipients at most, not {len(to)}"
        )
    if len(routing_keys) > MAX_HOPS:
        raise RefusedError(
            f"a message may have {MAX_HOPS} mediators at most, not {len(routing_keys)}"
        )
    if len(message) > MAX_MESSAGE:
        raise RefusedError(
            f"the message has {len(message)} bytes; {MAX_MESSAGE} is the most", TOO_LONG
        )
    size = sealed_size(len(message), len(to), len(routing_keys))
    if size > MAX_PACKED:
        raise RefusedError(
            f"encrypted, the message would have {size} bytes; {MAX_PACKED} is the most",
            TOO_LONG,
        )
    envelope = _pack(message, to, sender)
    hop = to[0]
    for key in routing_keys:
        forward = {"@type": _FORWARD, "@id": new_id(), "to": hop, "msg": envelope}
        envelope = _pack(_dump(forward), [key], None)
        hop = key
    return _dump(envelope)


def sealed_size(message: int, recipients: int, hops: int) -> int:
    """Return a close upper bound of the size of what `seal` returns, without doing it."""
    size = _packed_size(message, recipients * _AUTHCRYPT_BYTES)
    for _ in range(hops):
        size = _packed_size(size + _FORWARD_BYTES, _ANONCRYPT_BYTES)
    return size


def _packed_size(message: int, recipients: int) -> int:
    return _ENVELOPE_BYTES + _base64_size(message) + _base64_size(_HEADER_BYTES + recipients)


def _base64_size(size: int) -> int:
    return 4 * -(-size // 3)


async def unpack(packed: bytes, find: Find) -> Received:
    """Open an envelope, and forwards in it to ourselves; a large one outside the event loop.

    Raises:
        NotForUsError: it, or what it forwards, is not for a key of ours.
        BadEnvelopeError: anything else is wrong with it; the text contains nothing of its content.
    """
    _limit(len(packed), MAX_PACKED)
    _limit(_items(packed), ENVELOPE_ITEMS)
    large = len(packed) > LARGE
    envelope = await asyncio.to_thread(_read, packed) if large else _read(packed)
    where = _in_a_thread if large else _here
    received = await _open(envelope, find, where)
    for _ in range(MAX_FORWARDS):
        if not _is_forward(received.body):
            return replace(received, large=large)
        received = await _open_forward(received.body, find, where)
    if _is_forward(received.body):
        raise BadEnvelopeError("too many nested forwards")
    return replace(received, large=large)


def _pack(message: bytes, to: Sequence[str], sender: LocalKey | None) -> Json:
    if not to:
        raise BadMessageError("there is no recipient to encrypt to")
    secret = os.urandom(_CEK_BYTES)
    cek = Key.from_secret_bytes(KeyAlg.C20P, secret)
    header = {
        "enc": _ENC,
        "typ": _TYP,
        "alg": _AUTHCRYPT if sender else _ANONCRYPT,
        "recipients": [_lock(secret, verkey, sender) for verkey in dict.fromkeys(to)],
    }
    protected = _encode(_dump(header))
    ciphertext, tag, nonce = cek.aead_encrypt(message, aad=protected.encode()).parts
    return {
        "protected": protected,
        "iv": _encode(nonce),
        "ciphertext": _encode(ciphertext),
        "tag": _encode(tag),
    }


def _lock(secret: bytes, verkey: str, sender: LocalKey | None) -> Json:
    """Encrypt the content key for one recipient."""
    to = exchange_key(verkey)
    if sender is None:
        sealed = crypto_box.crypto_box_seal(to, secret)
        return {"encrypted_key": _encode(sealed), "header": {"kid": verkey}}
    nonce = os.urandom(_BOX_NONCE_BYTES)
    return {
        "encrypted_key": _encode(crypto_box.crypto_box(to, sender.exchange, secret, nonce)),
        "header": {
            "kid": verkey,
            "sender": _encode(crypto_box.crypto_box_seal(to, sender.verkey.encode())),
            "iv": _encode(nonce),
        },
    }


async def _here(work: Callable[[], Opened]) -> Opened:
    return work()


async def _in_a_thread(work: Callable[[], Opened]) -> Opened:
    return await asyncio.to_thread(work)


async def _open(envelope: object, find: Find, where: Where) -> Received:
    parts = _members(envelope, *_PARTS)
    if any(v is not None for k, v in cast("Json", envelope).items() if k not in _PARTS):
        raise BadEnvelopeError("envelope has a member that nothing authenticates")
    authcrypt, recipients = _read_protected(parts[0])
    key, recipient = await _ours(recipients, find)
    work = partial(_decrypt, parts, recipient, key, authcrypt=authcrypt)
    body, sender = await where(work)
    return Received(body, sender, key.verkey)


def _decrypt(parts: list[str], recipient: Json, key: LocalKey, *, authcrypt: bool) -> Opened:
    protected, iv, ciphertext, tag = parts
    nonce, mac = _decode(iv, _NONCE_BYTES), _decode(tag, _TAG_BYTES)
    data = _decode(ciphertext)
    _limit(len(data), MAX_PACKED)
    try:
        cek, sender = _unlock(recipient, key, authcrypt=authcrypt)
        content = Key.from_secret_bytes(KeyAlg.C20P, cek)
        plain = content.aead_decrypt(data, nonce=nonce, tag=mac, aad=protected.encode())
    except (AskarError, BadMessageError) as error:
        raise BadEnvelopeError("envelope does not decrypt") from error
    return _read_body(plain), sender


def _read_protected(protected: str) -> tuple[bool, dict[str, Json]]:
    """Return whether it is authcrypt, and the recipients by their keys."""
    _limit(len(protected), MAX_PROTECTED)
    header = _read(_decode(protected))
    recipients = header.get("recipients")
    enc, typ, alg = _members(header, "enc", "typ", "alg")
    if enc not in _ENCS or typ != _TYP or alg not in (_AUTHCRYPT, _ANONCRYPT):
        raise BadEnvelopeError("envelope has an unknown enc, typ or alg")
    if not isinstance(recipients, list):
        raise BadEnvelopeError("envelope has no recipients")
    return alg == _AUTHCRYPT, _by_kid(cast("list[object]", recipients))


def _by_kid(recipients: list[object]) -> dict[str, Json]:
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise BadEnvelopeError("envelope has no or too many recipients")
    found: dict[str, Json] = {}
    for recipient in recipients:
        kid = _kid(recipient)
        if kid in found:
            raise BadEnvelopeError("envelope names a recipient twice")
        found[kid] = cast("Json", recipient)
    return found


def _kid(recipient: object) -> str:
    try:
        kid = cast("Any", recipient)["header"]["kid"]
    except (KeyError, TypeError, IndexError) as error:
        raise BadEnvelopeError("a recipient has no key") from error
    if not looks_like_key(kid):
        raise BadEnvelopeError("a recipient is not a key")
    return cast("str", kid)


async def _ours(recipients: dict[str, Json], find: Find) -> tuple[LocalKey, Json]:
    for kid, recipient in recipients.items():
        key = await find(kid)
        if key is not None:
            return key, recipient
    raise NotForUsError("envelope is for none of our keys")


def _unlock(recipient: Json, key: LocalKey, *, authcrypt: bool) -> tuple[bytes, str | None]:
    """Return the content key and, for authcrypt, the verkey that encrypted it."""
    header = recipient["header"]
    (encrypted,) = _members(recipient, "encrypted_key")
    if not authcrypt:
        if header.get("sender") is not None:
            raise BadEnvelopeError("envelope is anonymous and names a sender")
        sealed = _decode(encrypted, _CEK_BYTES + _SEAL_EXTRA)
        return crypto_box.crypto_box_seal_open(key.exchange, sealed), None
    _, sealed_sender, iv = _members(header, "kid", "sender", "iv")
    box, nonce = _decode(encrypted, _CEK_BYTES + _BOX_EXTRA), _decode(iv, _BOX_NONCE_BYTES)
    opened = crypto_box.crypto_box_seal_open(key.exchange, _decode(sealed_sender))
    sender = opened.decode("ascii", "replace")
    return crypto_box.crypto_box_open(key.exchange, exchange_key(sender), box, nonce), sender


def _read_body(plain: bytes) -> Json:
    if _items(plain) > MAX_ITEMS:
        raise BadEnvelopeError("message has too many items")
    body = _read(plain)
    if not _is_forward(body):  # which holds an envelope, and that is longer than its message
        _limit(len(plain), MAX_MESSAGE)
    return body


def _items(raw: bytes) -> int:
    """Return an upper bound of the values in a JSON text, before it is parsed: parsing takes the time."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _is_forward(body: Json) -> bool:
    try:
        kind = TypeUri.parse(body.get("@type"))
    except BadMessageError:
        return False
    return (kind.family, kind.major, kind.name) == ("routing", 1, "forward")


async def _open_forward(body: Json, find: Find, where: Where) -> Received:
    try:
        to = to_verkey(body.get("to"))
    except BadMessageError as error:
        raise BadEnvelopeError("forward is not to a key") from error
    if await find(to) is None:
        raise ForwardedElsewhereError("forward is to none of our keys")
    try:
        return await _open(_forwarded(body.get("msg")), find, where)
    except NotForUsError as error:
        raise ForwardedElsewhereError("what is forwarded is for none of our keys") from error


def _forwarded(msg: object) -> object:
    """Return the envelope in a forward: an object today, text or base64 from older peers."""
    if not isinstance(msg, str):
        return msg
    if msg.startswith("{"):
        return _read(msg.encode())
    try:
        return _read(read_base64(msg))
    except BadMessageError as error:
        raise BadEnvelopeError("forward does not hold an envelope") from error


def _limit(size: int, most: int) -> None:
    if size > most:
        raise BadEnvelopeError("envelope is too large")


def _members(value: object, *names: str) -> list[str]:
    """Return these members of an object, all of them text.

    Others are ignored, as JOSE has it (RFC 7516), but for those that change what these mean.
    """
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        found = [members.get(name) for name in names]
        changed = any(members.get(name) is not None for name in _CHANGE)
        if not changed and all(isinstance(text, str) for text in found):
            return cast("list[str]", found)
    raise BadEnvelopeError("envelope does not have the members of RFC 0019")


def _read(raw: bytes) -> Json:
    try:
        value = read_json(raw)
    except BadMessageError as error:
        raise BadEnvelopeError("envelope does not hold strict JSON") from error
    if not isinstance(value, dict):
        raise BadEnvelopeError("envelope does not hold a JSON object")
    return cast("Json", value)


def _dump(value: Json) -> bytes:
    return write_json(value)


def _encode(raw: bytes) -> str:
    """Base64url with padding, as indy-sdk and ACA-Py write it."""
    return base64.urlsafe_b64encode(raw).decode()


def _decode(text: str, size: int | None = None) -> bytes:
    """Read canonical base64url, padded or not, of exactly `size` bytes."""
    bare = text.rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    try:
        raw = base64.urlsafe_b64decode(padded)
    except ValueError as error:
        raise BadEnvelopeError("envelope has bad base64url") from error
    if text not in (bare, padded) or _encode(raw) != padded:
        raise BadEnvelopeError("envelope does not have canonical base64url")
    if size is not None and len(raw) != size:
        raise BadEnvelopeError("a part of the envelope has the wrong length")
    return raw
