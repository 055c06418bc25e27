"""A DIDComm v1 agent that shares no code with ours: RFC 0019, 0023, 0434 on PyNaCl alone.

What it seals, the agent must open, and the other way round: an error that both halves of one
implementation make alike is not seen by their own tests.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import secrets
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import base58
from aiohttp import web
from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_box,
    crypto_box_open,
    crypto_box_seal,
    crypto_box_seal_open,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_seed_keypair,
)
from nacl.signing import SigningKey, VerifyKey

Json = dict[str, Any]

NEW = "https://didcomm.org/"
OLD = "did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/"
WIRE = "application/ssi-agent-wire"
PATIENCE_S = 20.0


def fresh() -> str:
    return str(uuid.uuid4())


def url64(raw: bytes, *, padded: bool = True) -> str:
    text = base64.urlsafe_b64encode(raw).decode()
    return text if padded else text.rstrip("=")


def unurl64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b58(raw: bytes) -> str:
    return base58.b58encode(raw).decode()


def curve(verkey: str) -> bytes:
    """Return the X25519 form of a base58 Ed25519 key."""
    return crypto_sign_ed25519_pk_to_curve25519(base58.b58decode(verkey))


@dataclass(frozen=True)
class Identity:
    """An Ed25519 key pair."""

    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def public(self) -> bytes:
        return crypto_sign_seed_keypair(self.seed)[0]

    @property
    def verkey(self) -> str:
        return b58(self.public)

    @property
    def multikey(self) -> str:
        return "z" + b58(b"\xed\x01" + self.public)

    @property
    def exchange(self) -> bytes:
        """The secret half on X25519."""
        pair = crypto_sign_seed_keypair(self.seed)
        return crypto_sign_ed25519_sk_to_curve25519(pair[1])

    def sign(self, data: bytes) -> bytes:
        return SigningKey(self.seed).sign(data).signature


# -- RFC 0019 --------------------------------------------------------------------------------------


def recipient_of(cek: bytes, to: str, sender: Identity | None) -> Json:
    """Lock the content key for one recipient."""
    if sender is None:
        return {
            "encrypted_key": url64(crypto_box_seal(cek, curve(to))),
            "header": {"kid": to},
        }
    nonce = secrets.token_bytes(24)
    return {
        "encrypted_key": url64(crypto_box(cek, nonce, curve(to), sender.exchange)),
        "header": {
            "kid": to,
            "sender": url64(crypto_box_seal(sender.verkey.encode(), curve(to))),
            "iv": url64(nonce),
        },
    }


def pack(
    body: Json | bytes, to: str | Sequence[str], sender: Identity | None, **header: Any
) -> Json:
    """Return an envelope; `header` overrides members of the protected header."""
    plain = body if isinstance(body, bytes) else json.dumps(body).encode()
    cek, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
    keys = [to] if isinstance(to, str) else to
    protected: Json = {
        "enc": "xchacha20poly1305_ietf",
        "typ": "JWM/1.0",
        "alg": "Authcrypt" if sender else "Anoncrypt",
        "recipients": [recipient_of(cek, key, sender) for key in keys],
        **header,
    }
    shown = url64(json.dumps(protected).encode())
    sealed = crypto_aead_chacha20poly1305_ietf_encrypt(plain, shown.encode(), nonce, cek)
    return {
        "protected": shown,
        "iv": url64(nonce),
        "ciphertext": url64(sealed[:-16]),
        "tag": url64(sealed[-16:]),
    }


def unpack(packed: bytes, us: Identity) -> tuple[Json, str | None]:
    """Return the message in an envelope and the key that authenticates it."""
    envelope = json.loads(packed)
    protected = json.loads(unurl64(envelope["protected"]))
    assert (protected["enc"], protected["typ"]) == ("xchacha20poly1305_ietf", "JWM/1.0")
    (mine,) = [r for r in protected["recipients"] if r["header"]["kid"] == us.verkey]
    locked = unurl64(mine["encrypted_key"])
    sender = None
    if protected["alg"] == "Authcrypt":
        boxed = unurl64(mine["header"]["sender"])
        sender = crypto_box_seal_open(boxed, curve(us.verkey), us.exchange).decode()
        nonce = unurl64(mine["header"]["iv"])
        cek = crypto_box_open(locked, nonce, curve(sender), us.exchange)
    else:
        cek = crypto_box_seal_open(locked, curve(us.verkey), us.exchange)
    plain = crypto_aead_chacha20poly1305_ietf_decrypt(
        unurl64(envelope["ciphertext"]) + unurl64(envelope["tag"]),
        envelope["protected"].encode(),
        unurl64(envelope["iv"]),
        cek,
    )
    return json.loads(plain), sender


# -- DIDs and signed attachments -------------------------------------------------------------------


def document(us: Identity, endpoint: str) -> Json:
    """Return a DID document without id, with references relative to it."""
    return {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "verificationMethod": [
            {"id": "#k", "type": "Multikey", "publicKeyMultibase": us.multikey}
        ],
        "authentication": ["#k"],
        "service": [
            {
                "id": "#s",
                "type": "did-communication",
                "recipientKeys": ["#k"],
                "routingKeys": [],
                "serviceEndpoint": endpoint,
            }
        ],
    }


def peer4(us: Identity, endpoint: str) -> str:
    raw = b"\x80\x04" + json.dumps(document(us, endpoint)).encode()
    encoded = "z" + b58(raw)
    digest = b"\x12\x20" + hashlib.sha256(encoded.encode()).digest()
    return f"did:peer:4z{b58(digest)}:{encoded}"


def peer2(us: Identity, endpoint: str) -> str:
    service = {"t": "did-communication", "s": endpoint, "recipientKeys": ["#key-1"], "r": []}
    return f"did:peer:2.V{us.multikey}.S{url64(json.dumps(service).encode(), padded=False)}"


def peer1(us: Identity, endpoint: str) -> tuple[str, Json]:
    """Return a did:peer:1 and its document, whose services and keys have the older shapes."""
    key = {
        "id": "#1",
        "type": "Ed25519VerificationKey2018",
        "controller": "#id",
        "publicKeyBase58": us.verkey,
    }
    service = {
        "id": "#didcomm",
        "type": "IndyAgent",
        "priority": 0,
        "recipientKeys": [us.verkey],
        "serviceEndpoint": endpoint,
    }
    document: Json = {
        "@context": "https://w3id.org/did/v1",
        "publicKey": [key],
        "service": [service],
    }
    digest = hashlib.sha256(json.dumps(document, separators=(",", ":")).encode()).digest()
    did = f"did:peer:1z{b58(bytes([0x12, 0x20]) + digest)}"
    return did, {"id": did, **document}


def attached(us: Identity, content: bytes, style: str = "url", **protected: Any) -> Json:
    """Attach something signed; `style` is how the base64 is written.

    Args:
        protected: overrides members of the signed header; `header` the unsigned one.
    """
    header = protected.pop("header", {"kid": f"did:key:{us.multikey}"})
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": url64(us.public, padded=False)}
    jwk["kid"] = f"did:key:{us.multikey}"
    signed = url64(json.dumps({"alg": "EdDSA", "jwk": jwk, **protected}).encode(), padded=False)
    payload = url64(content, padded=False)
    written = {
        "url": payload,
        "padded": base64.b64encode(content).decode(),
        "unpadded": base64.b64encode(content).decode().rstrip("="),
    }[style]
    signature = url64(us.sign(f"{signed}.{payload}".encode()), padded=False)
    jws = {"header": header, "protected": signed, "signature": signature}
    return {
        "@id": fresh(),
        "mime-type": "text/string",
        "data": {"base64": written, "jws": jws},
    }


@dataclass(frozen=True)
class Contact:
    """Where somebody listens and with which key, out of a DID or an inline service."""

    endpoint: str
    verkey: str


def read_peer4(did: str) -> Contact:
    """Read the long form, checking its hash."""
    _, _, name, encoded = did.split(":")
    digest = b"\x12\x20" + hashlib.sha256(encoded.encode()).digest()
    assert name == "4z" + b58(digest)
    raw = base58.b58decode(encoded[1:])
    assert raw[:2] == b"\x80\x04"
    found = json.loads(raw[2:])
    (service,) = found["service"]
    (reference,) = service["recipientKeys"]
    (key,) = [
        m["publicKeyMultibase"] for m in found["verificationMethod"] if m["id"] == reference
    ]
    public = base58.b58decode(key[1:])
    assert public[:2] == b"\xed\x01"
    return Contact(service["serviceEndpoint"], b58(public[2:]))


def read_invitation(invitation: Json) -> Contact:
    (service,) = invitation["services"]
    (key,) = service["recipientKeys"]
    public = base58.b58decode(key.removeprefix("did:key:z").partition("#")[0])
    return Contact(service["serviceEndpoint"], b58(public[2:]))


# -- the agent -------------------------------------------------------------------------------------


class Stranger:
    """Listens on a port of its own, and talks; make it with `listening`."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.endpoint = ""
        self.keys: dict[str, Identity] = {}
        self.inbox: asyncio.Queue[tuple[Json, str | None]] = asyncio.Queue()
        self.calls = 0

    def new(self) -> Identity:
        made = Identity()
        self.keys[made.verkey] = made
        return made

    async def take(self, request: web.Request) -> web.Response:
        self.calls += 1
        packed = await request.read()
        assert request.content_type == WIRE
        protected = json.loads(unurl64(json.loads(packed)["protected"]))
        kids = [recipient["header"]["kid"] for recipient in protected["recipients"]]
        (us,) = [self.keys[kid] for kid in kids if kid in self.keys]
        self.inbox.put_nowait(unpack(packed, us))
        return web.Response(status=202)

    async def post(self, to: Contact, packed: Json | bytes, kind: str = WIRE) -> int:
        """Post any bytes and return the status."""
        raw = packed if isinstance(packed, bytes) else json.dumps(packed).encode()
        async with self.http.post(
            to.endpoint, data=io.BytesIO(raw), headers={"Content-Type": kind}
        ) as answer:
            await answer.read()
            return answer.status

    async def send(self, to: Contact, body: Json | bytes, us: Identity | None) -> int:
        return await self.post(to, pack(body, to.verkey, us))

    async def hear(self, name: str) -> Json:
        """Return the next message, which must be of this type: `family/1.0/name`."""
        body, _ = await self.hear_with_sender(name)
        return body

    async def hear_with_sender(self, name: str) -> tuple[Json, str | None]:
        async with asyncio.timeout(PATIENCE_S):
            body, sender = await self.inbox.get()
        assert body["@type"] == NEW + name, body
        return body, sender


@asynccontextmanager
async def listening() -> AsyncGenerator[Stranger, None]:
    connector = aiohttp.TCPConnector(limit=0)
    limit = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as http:
        stranger = Stranger(http)
        app = web.Application(client_max_size=1 << 22)
        app.router.add_post("/", stranger.take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stranger.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            yield stranger
        finally:
            await runner.cleanup()


@dataclass
class Tie:
    """A connection, as the stranger has it."""

    stranger: Stranger
    us: Identity
    them: Contact
    thid: str

    async def send(self, body: Json | bytes) -> int:
        return await self.stranger.send(self.them, body, self.us)

    async def ping(self) -> Json:
        """Ping and return the answer: honest traffic."""
        ping = {"@type": f"{NEW}trust_ping/1.0/ping", "@id": fresh()}
        assert await self.send(ping) == 202
        while True:
            async with asyncio.timeout(PATIENCE_S):
                body, sender = await self.stranger.inbox.get()
            if body.get("~thread", {}).get("thid") == ping["@id"]:
                assert sender == self.them.verkey
                return body


def request(invitation: Json, more: Json, version: str = "1.1", prefix: str = NEW) -> Json:
    """Return a DID exchange request that answers an invitation."""
    name = fresh()
    return {
        "@type": f"{prefix}didexchange/{version}/request",
        "@id": name,
        "~thread": {"thid": name, "pthid": invitation["@id"]},
        "label": "a stranger",
        **more,
    }


def vouched(response: Json, inviter: str) -> Contact:
    """Check a response as RFC 0023 says, and return whom it leads to."""
    data = response["did_rotate~attach"]["data"]
    jws = data["jws"]
    signed = json.loads(unurl64(jws["protected"]))
    assert signed["alg"] == "EdDSA"
    key = unurl64(signed["jwk"]["x"])
    assert b58(key) == inviter
    payload = unurl64(data["base64"].replace("+", "-").replace("/", "_"))
    text = f"{jws['protected']}.{url64(payload, padded=False)}".encode()
    VerifyKey(key).verify(text, unurl64(jws["signature"]))
    assert payload.decode() == response["did"]
    return read_peer4(response["did"])


async def join(
    stranger: Stranger,
    invitation: Json,
    us: Identity,
    more: Json | None = None,
    *,
    version: str = "1.1",
    prefix: str = NEW,
) -> Tie:
    """Answer an invitation of the agent, which responds by itself."""
    inviter = read_invitation(invitation)
    with_did = {"did": peer4(us, stranger.endpoint)} | (more or {})
    asked = request(invitation, with_did, version, prefix)
    assert await stranger.send(inviter, asked, us) == 202
    response, sender = await stranger.hear_with_sender(f"didexchange/{version}/response")
    assert response["~thread"] == {"thid": asked["@id"], "pthid": invitation["@id"]}
    them = vouched(response, inviter.verkey)
    assert sender == them.verkey
    complete = {
        "@type": f"{prefix}didexchange/{version}/complete",
        "@id": fresh(),
        "~thread": response["~thread"],
    }
    assert await stranger.send(them, complete, us) == 202
    return Tie(stranger, us, them, asked["@id"])
