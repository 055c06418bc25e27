"""Issuer keys of any size and for any attributes, made at once from published safe primes.

TEST KEYS: everybody knows their factors. The library takes seconds to make a key, because it looks for safe
primes; from primes that are known a key is a few powers, and the order of its group is known too, so that proofs
with numbers that no honest wallet can find are made (`zkp.prover`).

Source: AnonCreds specification 1.0, generation of the credential definition and of its key correctness proof.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anoncreds
from gmpy2 import mpz, powmod

from keep_zkp.encode import common_name
from keep_zkp.json_object import Json
from keep_zkp.proof_numbers import as_bytes
from keep_zkp.public_key import SECRET_NAME

PRIMES = Path(__file__).parent / "vectors" / "safe_primes.json"
ISSUER = "V4SGRU86Z58d6TV7PBUe6f"


@dataclass(frozen=True, slots=True, eq=False)
class MadeKey:
    """A schema and a credential definition with what its issuer knows.

    Attributes:
        p: a safe prime, as `q`; n is their product, and every square has an order that divides `order`.
    """

    cred_def_id: str
    schema_id: str
    schema: Json
    cred_def: Json
    private: Json
    key_proof: Json
    p: int
    q: int

    @property
    def order(self) -> int:
        """The order of the group of squares, which all bases are in: p'q', of p = 2p' + 1 and q = 2q' + 1."""
        return (self.p - 1) // 2 * ((self.q - 1) // 2)


@cache
def safe_primes(bits: int) -> tuple[int, int]:
    """Return the primes of the published key of a size."""
    first, second = json.loads(PRIMES.read_text("utf-8"))["TEST_ONLY"][str(bits)]
    return int(first), int(second)


def make_key(
    bits: int, names: Sequence[str], *, issuer: str = ISSUER, number: int = 0
) -> MadeKey:
    """Make the key of a size and number for attributes; the same arguments give the same one.

    Args:
        bits: of the modulus; `safe_primes` has it.
        issuer: a DID, qualified or not: the ids are of its form.
        number: tells keys for the same attributes apart.
    """
    p, q = safe_primes(bits)
    n = p * q
    chance = random.Random(f"{bits} {names} {issuer} {number}")
    s = pow(chance.randrange(2, n), 2, n)
    secret = {
        name: chance.randrange(2, n // 4)
        for name in ("z", "rctxt", SECRET_NAME, *map(common_name, names))
    }
    power = {name: int(powmod(mpz(s), x, n)) for name, x in secret.items()}
    r = {name: value for name, value in power.items() if name not in {"z", "rctxt"}}
    bases = {"n": n, "s": s, "z": power["z"], "rctxt": power["rctxt"]}
    title = f"made{bits}x{len(names)}n{number}"
    if issuer.startswith("did:"):
        schema_id = f"{issuer}/anoncreds/v0/SCHEMA/{title}/1.0"
        cred_def_id = f"{issuer}/anoncreds/v0/CLAIM_DEF/{title}/default"
    else:
        schema_id, cred_def_id = (
            f"{issuer}:2:{title}:1.0",
            f"{issuer}:3:CL:{schema_no(title)}:t",
        )
    primary: Json = {name: str(value) for name, value in bases.items()}
    primary["r"] = {name: str(value) for name, value in r.items()}
    return MadeKey(
        cred_def_id,
        schema_id,
        {"issuerId": issuer, "name": title, "version": "1.0", "attrNames": [*names]},
        {
            "issuerId": issuer,
            "schemaId": schema_id,
            "type": "CL",
            "tag": "t",
            "value": {"primary": primary},
        },
        {"value": {"p_key": {"p": str((p - 1) // 2), "q": str((q - 1) // 2)}}},
        _key_proof(chance, n, s, secret, power),
        p,
        q,
    )


def schema_no(title: str) -> int:
    """Return a sequence number for a schema, as a ledger would."""
    return int.from_bytes(hashlib.sha256(title.encode()).digest()[:3], "big") + 1


def _key_proof(
    chance: random.Random, n: int, s: int, secret: dict[str, int], power: dict[str, int]
) -> Json:
    """Prove that Z and every R are powers of S: c = H(Z, every R, Z~, every R~)."""
    names = ["z", *(name for name in secret if name not in {"z", "rctxt"})]
    masks = {name: chance.randrange(n << 300) for name in names}
    masked = [int(powmod(mpz(s), masks[name], n)) for name in names]
    digest = hashlib.sha256()
    for value in (*(power[name] for name in names), *masked):
        digest.update(as_bytes(value))
    c = int.from_bytes(digest.digest(), "big")
    answers = {name: str(masks[name] + c * secret[name]) for name in names}
    return {
        "c": str(c),
        "xz_cap": answers.pop("z"),
        "xr_cap": [[name, answer] for name, answer in answers.items()],
    }


def issue(key: MadeKey, link_secret: str, values: dict[str, str]) -> Json:
    """Run a whole issuance by the library; return the credential as a wallet keeps it."""
    public = anoncreds.CredentialDefinition.load(json.dumps(key.cred_def))
    private = anoncreds.CredentialDefinitionPrivate.load(json.dumps(key.private))
    proof = anoncreds.KeyCorrectnessProof.load(json.dumps(key.key_proof))
    offer = anoncreds.CredentialOffer.create(key.schema_id, key.cred_def_id, proof)
    request, metadata = anoncreds.CredentialRequest.create(
        "entropy", None, public, link_secret, "default", offer
    )
    issued = anoncreds.Credential.create(public, private, offer, request, values)
    return issued.process(metadata, link_secret, public).to_dict()
