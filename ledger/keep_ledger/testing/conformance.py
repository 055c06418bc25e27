"""What every ledger plugin must do: subclass `Conformance` and give it the fixture `world`.

A test makes its own DIDs, so that one ledger may serve all tests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

import base58
import pytest
from nacl.signing import SigningKey

from keep_ledger.codes import Role
from keep_ledger.errors import BadIdError, BadWriteError
from keep_ledger.interface import (
    Failed,
    Finished,
    NeedsSignatures,
    Prepared,
    Registry,
    Result,
    TaaAcceptance,
    Why,
)
from keep_ledger.writes import (
    Write,
    WriteAttrib,
    WriteCredDef,
    WriteNym,
    WriteSchema,
    WriteVerkey,
)

CRED_DEF: dict[str, Any] = json.loads(Path(__file__).with_name("cred_def.json").read_text())
TRUSTEE_SEED = b"000000000000000000000000Trustee1"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a DID and its key."""

    did: str
    verkey: str
    key: SigningKey

    @classmethod
    def of(cls, key: SigningKey) -> Self:
        public = bytes(key.verify_key)
        did, verkey = base58.b58encode(public[:16]), base58.b58encode(public)
        return cls(did.decode(), verkey.decode(), key)

    @classmethod
    def new(cls) -> Self:
        return cls.of(SigningKey.generate())

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message).signature

    def rotated(self) -> Self:
        """The same DID with another key."""
        return replace(self.new(), did=self.did)

    def nym(self, role: Role | None = None) -> WriteNym:
        return WriteNym(self.did, self.verkey, role)


TRUSTEE = Person.of(SigningKey(TRUSTEE_SEED))


class World(Protocol):
    """A ledger under test, whose first trustee is TRUSTEE."""

    @property
    def registry(self) -> Registry: ...

    async def agree_on(self, text: str | None) -> None:
        """Put an author agreement in force, with the mechanism `on_file`; None: no more."""
        ...


def sign(prepared: Prepared, *signers: Person) -> dict[str, bytes]:
    return {one.did: one.sign(prepared.signing_input) for one in signers}


async def send(
    registry: Registry,
    write: Write,
    *signers: Person,
    endorser: str | None = None,
    taa: TaaAcceptance | None = None,
) -> Result:
    """One write by the first signer, as an agent does it: prepared, stored, signed, submitted."""
    prepared = await registry.prepare(write, signers[0].did, endorser=endorser, taa=taa)
    stored = Prepared.from_json(json.loads(json.dumps(prepared.to_json())))
    assert stored == prepared
    return await registry.submit(stored, sign(stored, *signers))


async def written(registry: Registry, write: Write, *signers: Person) -> Finished:
    """A write that must succeed, and that every later read shows."""
    result = await send(registry, write, *signers)
    assert isinstance(result, Finished), result
    confirmed = await registry.confirm(write)
    assert isinstance(confirmed, Finished), confirmed
    return confirmed


async def registered(registry: Registry, role: Role | None) -> Person:
    person = Person.new()
    await written(registry, person.nym(role), TRUSTEE)
    return person


def schema_of(issuer: Person, *attributes: str) -> WriteSchema:
    return WriteSchema(issuer.did, "driving licence", "1.0", attributes or ("name", "category"))


def cred_def_of(issuer: Person, schema: WriteSchema) -> WriteCredDef:
    ours = {"issuerId": issuer.did, "schemaId": schema.id}
    return WriteCredDef.from_anoncreds(CRED_DEF | ours)


class Conformance:
    """The suite."""

    async def test_a_new_did_is_read_back_in_every_form(self, world: World) -> None:
        ledger, person = world.registry, Person.new()
        assert await ledger.get_nym(person.did) is None
        finished = await written(ledger, person.nym(Role.ENDORSER), TRUSTEE)
        assert finished.id == person.did
        qualified = f"did:indy:{ledger.namespace}:{person.did}"
        for text in (person.did, f"did:sov:{person.did}", qualified):
            nym = await ledger.get_nym(text)
            assert nym is not None
            assert (nym.did, nym.verkey, nym.role) == (text, person.verkey, Role.ENDORSER)

    async def test_the_first_trustee_has_a_whole_verkey(self, world: World) -> None:
        nym = await world.registry.get_nym(TRUSTEE.did)
        assert nym is not None
        assert (nym.verkey, nym.role) == (TRUSTEE.verkey, Role.TRUSTEE)

    async def test_a_schema_and_a_credential_definition_are_read_in_both_forms(
        self, world: World
    ) -> None:
        ledger = world.registry
        issuer = await registered(ledger, Role.ENDORSER)
        write = schema_of(issuer)
        schema_done = await written(ledger, write, issuer)
        done = await written(ledger, cred_def_of(issuer, write), issuer)
        assert done.id == f"{issuer.did}:3:CL:{schema_done.seq_no}:default"
        did = f"did:indy:{ledger.namespace}:{issuer.did}"
        base = f"{did}/anoncreds/v0"
        schema_ids = (write.id, f"{base}/SCHEMA/driving licence/1.0")
        ids = (done.id, f"{base}/CLAIM_DEF/{schema_done.seq_no}/default")
        for own_did, schema_id, text in zip((issuer.did, did), schema_ids, ids, strict=True):
            schema, cred_def = (
                await ledger.get_schema(schema_id),
                await ledger.get_cred_def(text),
            )
            assert schema is not None
            assert cred_def is not None
            assert (schema.id, schema.issuer_id) == (schema_id, own_did)
            assert schema.attr_names == write.attr_names
            assert schema.seq_no == schema_done.seq_no
            assert json.loads(schema.anoncreds)["attrNames"] == ["name", "category"]
            theirs = CRED_DEF | {"issuerId": own_did, "schemaId": schema_id}
            assert json.loads(cred_def.anoncreds) == theirs
            assert cred_def.id == text

    async def test_what_is_not_there_is_absent(self, world: World) -> None:
        ledger, nobody = world.registry, Person.new().did
        assert await ledger.get_schema(f"{nobody}:2:licence:1.0") is None
        assert await ledger.get_cred_def(f"{nobody}:3:CL:1:default") is None
        assert await ledger.get_attrib(nobody, "endpoint") is None
        assert await ledger.resolve(nobody) is None

    async def test_an_id_of_another_network_is_refused(self, world: World) -> None:
        with pytest.raises(BadIdError, match="not of the network"):
            await world.registry.get_nym(f"did:indy:elsewhere:{TRUSTEE.did}")

    async def test_a_cred_def_without_its_schema_is_refused(self, world: World) -> None:
        issuer = Person.new()
        write = cred_def_of(issuer, schema_of(issuer))
        with pytest.raises(BadWriteError, match="is not on"):
            await world.registry.prepare(write, issuer.did)

    async def test_only_the_owner_rotates_a_key(self, world: World) -> None:
        ledger = world.registry
        person, thief = await registered(ledger, None), await registered(ledger, None)
        fresh = person.rotated()
        write = WriteVerkey(person.did, fresh.verkey)
        assert isinstance(await send(ledger, write, thief), Failed | NeedsSignatures)
        assert await ledger.find(write) is None
        await written(ledger, write, person)
        nym = await ledger.get_nym(person.did)
        assert nym is not None
        assert nym.verkey == fresh.verkey
        await written(ledger, WriteAttrib.endpoint(person.did, "https://new.example"), fresh)

    async def test_an_endpoint_is_resolved_and_can_change(self, world: World) -> None:
        ledger = world.registry
        person, key = await registered(ledger, None), Person.new().verkey
        for url in ("https://a.example/didcomm", "https://b.example/didcomm"):
            await written(ledger, WriteAttrib.endpoint(person.did, url, (key,)), person)
            found = await ledger.resolve(f"did:sov:{person.did}")
            assert found is not None
            assert (found.verkey, found.endpoint) == (person.verkey, url)
            assert found.routing_keys == (key,)
        assert await ledger.get_attrib(person.did, "profile") is None

    async def test_sec_l_12_the_same_object_again_is_adopted(self, world: World) -> None:
        ledger = world.registry
        issuer = await registered(ledger, Role.ENDORSER)
        schema = schema_of(issuer)
        await written(ledger, schema, issuer)
        cred_def = cred_def_of(issuer, schema)
        await written(ledger, cred_def, issuer)
        for write in (schema, cred_def, issuer.nym(Role.ENDORSER)):
            first = await ledger.find(write)
            assert isinstance(first, Finished)
            assert await send(ledger, write, issuer) == first

    async def test_other_content_under_an_id_is_a_conflict(self, world: World) -> None:
        ledger = world.registry
        issuer = await registered(ledger, Role.ENDORSER)
        schema = schema_of(issuer)
        await written(ledger, schema, issuer)
        cred_def = cred_def_of(issuer, schema)
        await written(ledger, cred_def, issuer)
        other_keys = replace(cred_def, value=cred_def.value.replace('"n": "8', '"n": "9'))
        assert other_keys != cred_def
        other_nym = replace(issuer.nym(), verkey=Person.new().verkey)
        for write in (schema_of(issuer, "name", "age"), other_keys, other_nym):
            for result in (await ledger.find(write), await send(ledger, write, issuer)):
                assert isinstance(result, Failed)
                assert result.why is Why.CONFLICT
        kept = await ledger.get_cred_def(
            f"{issuer.did}:3:CL:{await _number(ledger, schema)}:default"
        )
        assert kept is not None
        assert json.loads(kept.value) == json.loads(cred_def.value)

    async def test_a_stranger_is_told_who_must_sign(self, world: World) -> None:
        ledger = world.registry
        stranger = await registered(ledger, None)
        for write in (schema_of(stranger), Person.new().nym()):
            result = await send(ledger, write, stranger)
            assert isinstance(result, NeedsSignatures)
            assert "ENDORSER" in result.reason
            assert await ledger.find(write) is None

    async def test_somebody_unknown_to_the_ledger_writes_nothing(self, world: World) -> None:
        nobody = Person.new()
        result = await send(world.registry, nobody.nym(), nobody)
        assert isinstance(result, Failed | NeedsSignatures)
        assert await world.registry.get_nym(nobody.did) is None

    async def test_sec_l_14_a_stranger_changes_nothing_of_a_did(self, world: World) -> None:
        ledger = world.registry
        victim, stranger = (
            await registered(ledger, Role.ENDORSER),
            await registered(ledger, None),
        )
        before = await ledger.get_nym(victim.did)
        for write in (victim.nym(None), WriteVerkey(victim.did, stranger.verkey)):
            assert not isinstance(await send(ledger, write, stranger), Finished)
        assert await ledger.get_nym(victim.did) == before

    async def test_a_trustee_gives_and_takes_a_role(self, world: World) -> None:
        ledger = world.registry
        person = await registered(ledger, None)
        for role in (Role.ENDORSER, None):
            await written(ledger, person.nym(role), TRUSTEE)
            nym = await ledger.get_nym(person.did)
            assert nym is not None
            assert (nym.role, nym.verkey) == (role, person.verkey)

    async def test_an_endorser_signs_for_an_author_without_a_role(self, world: World) -> None:
        ledger = world.registry
        author, endorser = (
            await registered(ledger, None),
            await registered(ledger, Role.ENDORSER),
        )
        write = schema_of(author)
        result = await send(ledger, write, author, endorser, endorser=endorser.did)
        assert isinstance(result, Finished)
        assert result.id == write.id
        assert await ledger.confirm(write) == result

    async def test_sec_l_09_only_the_named_endorser_counts(self, world: World) -> None:
        ledger = world.registry
        author = await registered(ledger, None)
        named, other = [await registered(ledger, Role.ENDORSER) for _ in range(2)]
        write = schema_of(author)
        for signers in ((author,), (author, other)):
            result = await send(ledger, write, *signers, endorser=named.did)
            assert result == NeedsSignatures(f"{named.did} must sign", (named.did,))
        unnamed = await send(ledger, write, author, endorser=None)
        assert isinstance(unnamed, NeedsSignatures)
        no_endorser = await send(ledger, write, author, TRUSTEE, endorser=TRUSTEE.did)
        assert not isinstance(no_endorser, Finished)
        assert await ledger.find(write) is None

    async def test_sec_l_08_replayed_bytes_change_nothing(self, world: World) -> None:
        ledger = world.registry
        person = await registered(ledger, None)
        fresh = person.rotated()
        there = await ledger.prepare(WriteVerkey(person.did, fresh.verkey), person.did)
        signatures = sign(there, person)
        first = await ledger.submit(there, signatures)
        assert await ledger.confirm(there.write) == first
        await written(ledger, WriteVerkey(person.did, person.verkey), fresh)
        await ledger.submit(there, signatures)
        nym = await ledger.get_nym(person.did)
        assert nym is not None
        assert nym.verkey == person.verkey

    async def test_a_write_is_read_right_after_it(self, world: World) -> None:
        ledger = world.registry
        for _ in range(10):
            person = Person.new()
            finished = await send(ledger, person.nym(), TRUSTEE)
            assert await ledger.confirm(person.nym()) == finished

    async def test_without_its_author_a_request_is_not_sent(self, world: World) -> None:
        ledger, person = world.registry, Person.new()
        prepared = await ledger.prepare(person.nym(), TRUSTEE.did)
        result = await ledger.submit(prepared, {})
        assert result == NeedsSignatures(f"{TRUSTEE.did} must sign", (TRUSTEE.did,))

    async def test_sec_l_10_an_agreement_must_be_accepted(self, world: World) -> None:
        ledger, person = world.registry, Person.new()
        assert await ledger.get_taa() is None
        await world.agree_on("Write nothing personal, naïve or not.")
        try:
            taa = await ledger.get_taa()
            assert taa is not None
            assert taa.text == "Write nothing personal, naïve or not."
            right = TaaAcceptance.of(taa, "on_file", datetime.now(UTC))
            wrong = replace(right, digest="00" * 32)
            for acceptance in (None, wrong):
                result = await send(ledger, person.nym(), TRUSTEE, taa=acceptance)
                assert isinstance(result, Failed)
                assert result.why is Why.AGREEMENT
                assert taa.version in result.reason
            with pytest.raises(ValueError, match="not one of"):
                TaaAcceptance.of(taa, "telepathy", datetime.now(UTC))
            result = await send(ledger, person.nym(), TRUSTEE, taa=right)
            assert isinstance(result, Finished)
        finally:
            await world.agree_on(None)
        assert await ledger.get_taa() is None

    async def test_it_says_that_it_answers(self, world: World) -> None:
        status = await world.registry.refresh()
        assert status == world.registry.status()
        assert status.answers is True
        assert status.nodes > 0
        assert status.since is not None


async def _number(ledger: Registry, write: WriteSchema) -> int:
    schema = await ledger.get_schema(write.id)
    assert schema is not None
    return schema.seq_no
