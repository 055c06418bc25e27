"""Make the test vectors of this folder: `python tests/zkp/make_vectors.py` (two minutes of CPU).

TEST KEYS: the private keys and link secrets in `vectors/` are published and must never sign
anything real. They are kept because a credential definition takes seconds to make, and because
the same bytes in every run make a failing property test repeatable.

`keys.json`         schemas and credential definitions by id, with their private halves
`credentials.json`  held credentials by name, with the holder whose link secret they carry
"""

from __future__ import annotations

import json
from pathlib import Path

import anoncreds

from keep_zkp.json_object import Json

HERE = Path(__file__).parent / "vectors"
OFFICE = "V4SGRU86Z58d6TV7PBUe6f"  # the licence office, unqualified ids
CITY = "did:indy:sovrin:7Tqg6BwSSWapxgUDm9KKgg"  # another issuer, qualified ids
LICENCE = ["name", "birthdate_dateint", "category", "number"]
LICENCE_ID = f"{OFFICE}:2:licence:1.0"
CITY_ID = f"{CITY}/anoncreds/v0/SCHEMA/licence/1.0"
CARD_ID = f"{OFFICE}:2:card:1.0"
MEMBER_ID = f"{OFFICE}:2:Mitglied 氏名:1.0"
WIDE_ID = f"{OFFICE}:2:wide:1.0"
MEMBER = [
    "PPID", "Given Name", "Permit-number", "Straße", "氏名", "ΟΔΟΣ", "İl", "Prénom", "address.street",
    "e-mail @ work", 'the "name"', "it's", "می\u200cروم", "👨\u200d👩\u200d👧", "שם", "has:x~%$",
]  # fmt: skip
WIDE = [f"attr_{number:03}" for number in range(125)]

SCHEMAS: dict[str, tuple[str, str, str, list[str]]] = {
    LICENCE_ID: (OFFICE, "licence", "1.0", LICENCE),
    CITY_ID: (CITY, "licence", "1.0", LICENCE),
    CARD_ID: (OFFICE, "card", "1.0", ["First Name", "Points", "level"]),
    MEMBER_ID: (OFFICE, "Mitglied 氏名", "1.0", MEMBER),
    WIDE_ID: (OFFICE, "wide", "1.0", WIDE),
}
# name -> (cred def id, schema id, issuer id, tag, revocable)
CRED_DEFS: dict[str, tuple[str, str, str, str, bool]] = {
    "licence": (f"{OFFICE}:3:CL:12:default", LICENCE_ID, OFFICE, "default", False),
    "learner": (f"{OFFICE}:3:CL:12:learner", LICENCE_ID, OFFICE, "learner", False),
    "revocable": (f"{OFFICE}:3:CL:12:revocable", LICENCE_ID, OFFICE, "revocable", True),
    "card": (f"{OFFICE}:3:CL:13:card", CARD_ID, OFFICE, "card", False),
    "member": (f"{OFFICE}:3:CL:15:member", MEMBER_ID, OFFICE, "member", False),
    "wide": (f"{OFFICE}:3:CL:16:wide", WIDE_ID, OFFICE, "wide", False),
    "city": (f"{CITY}/anoncreds/v0/CLAIM_DEF/14/default", CITY_ID, CITY, "default", False),
}
ALICE: Json = {
    "name": "Alice Ärmel",
    "birthdate_dateint": "19990512",
    "category": "B",
    "number": "L-77 123",
}
CHILD = {**ALICE, "name": "Bob", "birthdate_dateint": "20140101", "number": "L-99 999"}
CARD = {"First Name": "Alice", "Points": "-12", "level": "3"}
# name -> (cred def, holder, values)
HELD: dict[str, tuple[str, str, Json]] = {
    "alice": ("licence", "alice", ALICE),
    "alice_learner": ("learner", "alice", {**ALICE, "category": "L"}),
    "alice_revocable": ("revocable", "alice", ALICE),
    "alice_card": ("card", "alice", CARD),
    "alice_city": ("city", "alice", {**ALICE, "name": "Mallory"}),
    "child": ("licence", "bob", CHILD),
    "bob_card": ("card", "bob", {**CARD, "First Name": "Bob"}),
}


def make_keys() -> Json:
    """Create every schema and credential definition."""
    schemas = {
        schema_id: anoncreds.Schema.create(name, version, issuer, names)
        for schema_id, (issuer, name, version, names) in SCHEMAS.items()
    }
    keys: Json = {"schemas": {key: value.to_dict() for key, value in schemas.items()}}
    keys["cred_defs"] = {}
    for name, (cred_def_id, schema_id, issuer, tag, revocable) in CRED_DEFS.items():
        public, private, proof = anoncreds.CredentialDefinition.create(
            schema_id, schemas[schema_id], issuer, tag, "CL", support_revocation=revocable
        )
        keys["cred_defs"][name] = {
            "id": cred_def_id,
            "schema_id": schema_id,
            "public": public.to_dict(),
            "TEST_ONLY_private": private.to_dict(),
            "key_proof": proof.to_dict(),
        }
    return keys


def issue(entry: Json, link_secret: str, values: Json) -> Json:
    """Run offer, request, issue and process once; return the credential as it is held."""
    public = anoncreds.CredentialDefinition.load(entry["public"])
    private = anoncreds.CredentialDefinitionPrivate.load(entry["TEST_ONLY_private"])
    proof = anoncreds.KeyCorrectnessProof.load(entry["key_proof"])
    offer = anoncreds.CredentialOffer.create(entry["schema_id"], entry["id"], proof)
    request, metadata = anoncreds.CredentialRequest.create(
        "entropy", None, public, link_secret, "default", offer
    )
    issued = anoncreds.Credential.create(public, private, offer, request, values)
    return issued.process(metadata, link_secret, public).to_dict()


def main() -> None:
    """Write both files."""
    keys = make_keys()
    secrets = {holder: anoncreds.create_link_secret() for holder in ("alice", "bob")}
    held = {
        name: {
            "holder": holder,
            "cred_def": cred_def,
            "credential": issue(keys["cred_defs"][cred_def], secrets[holder], values),
        }
        for name, (cred_def, holder, values) in HELD.items()
    }
    HERE.mkdir(exist_ok=True)
    _write("keys.json", keys)
    _write("credentials.json", {"TEST_ONLY_link_secrets": secrets, "held": held})


def _write(name: str, content: Json) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
    (HERE / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
