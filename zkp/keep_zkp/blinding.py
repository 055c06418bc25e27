"""A credential request of our own: a commitment to the link secret, and the proof that we know what is in it.

The library makes the same, but checks the issuer's key-correctness proof again at every request, which is
most of the work. This is for a key that the library has checked with that very proof, and for definitions
without revocation. What is made has the library's form, and the library processes what is issued on it.

Sources: AnonCreds specification 1.0, "Credential Request"; Camenisch, Lysyanskaya, "A signature scheme with
efficient protocols" (2002), section 4; Khovratovich, Lodder, Parra, "Anonymous credentials with type-3
revocation", "Issuance".
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

from keep_zkp.errors import InvalidError
from keep_zkp.json_object import Json
from keep_zkp.native import json_text
from keep_zkp.proof_numbers import as_bytes
from keep_zkp.public_key import SECRET_NAME, PublicKey, read_public_key

try:
    import gmpy2
except ImportError:  # the extra `fast` is not installed: the library makes every request
    gmpy2 = None  # type: ignore[assignment] # no module

ORDER_BITS, C_BITS, M_BITS, NONCE_BITS = 2048, 256, 256, 80
"""Longest order of the group, longest challenge, link secret and nonces."""
N_BITS = range(ORDER_BITS, ORDER_BITS + 3)
"""The library's moduli have 2050 bits, which is an order (about n / 4) of 2048."""
HIDING = 80
"""How many bits longer what hides a number is than that number: it tells nothing but with a chance of 2^-80."""
V_BITS = ORDER_BITS + HIDING
"""Of the blinding factor v': 2128, as the library has it."""
V_MASK_BITS = V_BITS + C_BITS + HIDING
"""Of the mask of v', which hides challenge times v' by `HIDING` more bits."""
M_MASK_BITS = M_BITS + C_BITS + HIDING + 1
"""Of the mask of the link secret: 593, as the library has it."""
_NONCE = re.compile(r"0|[1-9][0-9]{0,24}")
_SECRET = re.compile(r"[1-9][0-9]{0,77}")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request of our own is made from.

    Attributes:
        secret: the link secret.
        key: of the definition, as the ledger has it.
        nonce: of the offer.
        pair: names exactly this key and exactly this key-correctness proof (SHA-256, hexadecimal).
    """

    secret: int = field(repr=False)
    key: PublicKey
    nonce: int
    pair: str


@dataclass(frozen=True, slots=True)
class Blinded:
    """A commitment to the link secret, and the proof of what is in it.

    Attributes:
        u: the commitment.
        v: the blinding factor v', secret.
        c: the challenge.
        v_cap: the response for v'.
        m_cap: the response for the link secret.
    """

    u: int
    v: int = field(repr=False)
    c: int
    v_cap: int
    m_cap: int


def read_terms(offer: Json, cred_def: Json, link_secret: str) -> Terms | None:
    """Read what a request of our own needs.

    Args:
        cred_def: from the ledger.

    Returns:
        None: the library has to make the request, or to say what is wrong with the offer.
    """
    secret = _read_secret(link_secret)
    if gmpy2 is None or secret is None:
        return None
    try:
        key = read_public_key(cred_def)
        proof = json_text(dict(sorted(offer["key_correctness_proof"].items())))
    except (InvalidError, KeyError, TypeError, AttributeError):
        return None
    nonce = offer.get("nonce")
    if (
        cred_def["value"].get("revocation") is not None
        or key.n.bit_length() not in N_BITS
        or key.n % 2 == 0
        or not isinstance(nonce, str)
        or _NONCE.fullmatch(nonce) is None
        or int(nonce).bit_length() > NONCE_BITS
    ):
        return None
    pair = hashlib.sha256(key.digest + proof.encode()).hexdigest()
    return Terms(secret, key, int(nonce), pair)


def blind(terms: Terms) -> Blinded:
    """Commit to the link secret m, and prove knowledge of v' and m (Fiat-Shamir).

        U  = S^v' R^m  mod n        v', v~, m~ random
        U~ = S^v~ R^m~ mod n
        c  = H(U, U~, n0)           n0: the nonce of the offer
        v^ = v~ + c v'
        m^ = m~ + c m

    The issuer accepts if c = H(U, U^-c S^v^ R^m^, n0). To be called inside a native thread.
    """
    v = secrets.randbits(V_BITS)
    v_mask, m_mask = secrets.randbits(V_MASK_BITS), secrets.randbits(M_MASK_BITS)
    u = commitment(terms.key, v, terms.secret)
    c = challenge(u, commitment(terms.key, v_mask, m_mask), terms.nonce)
    return Blinded(u, v, c, v_mask + c * v, m_mask + c * terms.secret)


def commitment(key: PublicKey, v: int, m: int) -> int:
    """Return S^v R^m mod n, in a time that does not depend on v and m; both are positive.

    Source: Camenisch-Lysyanskaya, section 4 (a Pedersen commitment in the group of the issuer).
    """
    assert gmpy2 is not None
    with gmpy2.context(allow_release_gil=True):  # others run meanwhile
        blinding = gmpy2.powmod_sec(key.s, v, key.n)
        return int(blinding * gmpy2.powmod_sec(key.r[SECRET_NAME], m, key.n) % key.n)


def challenge(*numbers: int) -> int:
    """Return H(numbers): SHA-256 of their bytes one after the other.

    Source: the library's `hash_list_to_bignum`.
    """
    digest = hashlib.sha256(b"".join(map(as_bytes, numbers))).digest()
    return int.from_bytes(digest, "big")


def write_request(blinded: Blinded, cred_def_id: str, author: Json, nonce: str) -> Json:
    """Write the request as the library does (specification, "Credential Request").

    Args:
        author: `entropy` or `prover_did`.
        nonce: of the request.
    """
    return {
        **author,
        "cred_def_id": cred_def_id,
        "blinded_ms": {
            "u": str(blinded.u),
            "ur": None,
            "hidden_attributes": [SECRET_NAME],
            "committed_attributes": {},
        },
        "blinded_ms_correctness_proof": {
            "c": str(blinded.c),
            "v_dash_cap": str(blinded.v_cap),
            "m_caps": {SECRET_NAME: str(blinded.m_cap)},
            "r_caps": {},
        },
        "nonce": nonce,
    }


def write_metadata(blinded: Blinded, nonce: str, link_secret_name: str) -> Json:
    """Write what the library needs to process the credential, in its form; secret."""
    return {
        "link_secret_blinding_data": {"v_prime": str(blinded.v), "vr_prime": None},
        "nonce": nonce,
        "link_secret_name": link_secret_name,
    }


def new_nonce() -> str:
    """Return a nonce for a request: 80 random bits."""
    return str(secrets.randbits(NONCE_BITS))


def _read_secret(link_secret: str) -> int | None:
    """Read a link secret: 1 to 2^256 - 1; None: it is none, or the library's business."""
    # `int` would put what it cannot read into its error.
    if _SECRET.fullmatch(link_secret) is None:
        return None
    found = int(link_secret)
    return found if found.bit_length() <= M_BITS else None
