"""Who signs what goes to a ledger, and what a definition promises from its making on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from wallets import LICENCE, OFFICE, STORE_KEY, ledger, vectors

from keep_agent.core.message import Json
from keep_agent.core.policy import Policies
from keep_agent.credentials import ledger_objects
from keep_agent.credentials.cred_def_keys import make_keys, schema_for, store_keys
from keep_agent.credentials.formats import Ids
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.spelling import spelled
from keep_agent.credentials.wallet import CRED_DEF
from keep_agent.errors import BadCommandError, NotFoundError, UnavailableError
from keep_agent.identity.keys import Keys, NewKey
from keep_agent.registry.commands import (
    CreateCredDef,
    CreateDid,
    CreateSchema,
    RegisterNym,
    RegistryCommands,
    SetPreferences,
    WriteEndpoint,
)
from keep_agent.registry.jobs import JOB, OPEN, Job, Jobs, State
from keep_agent.store.location import Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.store import Store
from keep_ledger.errors import BadIdError, BadWriteError
from keep_ledger.memory import TRUSTEE, MemoryRegistry
from keep_ledger.plugins import Ledgers
from keep_zkp.native import Native, Scope

SCHEMA = str(vectors()["cred_defs"]["licence"]["schema_id"])
SOMEBODY = "WgWxqztrNooG92RXvxSTWv"
VERKEY = NewKey.generate({}).verkey
NYM = RegisterNym(did=SOMEBODY, verkey=VERKEY)


class Made:
    """Registry commands that take the published test keys for keys of definitions, at once."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        local = ledger()
        local._state.nyms[OFFICE] = TRUSTEE
        self.ledgers = Ledgers([local, MemoryRegistry("other")])
        self.jobs = Jobs(profile, Keys(profile.key), self.ledgers)
        self.asked: list[tuple[Any, ...]] = []
        self.commands = RegistryCommands(
            profile, self.ledgers, self.jobs, Policies({}), self._check, self._make, store_keys
        )
        self.silent = False

    async def _check(self, schema_id: str, issuer: str, predicates: Sequence[str]) -> object:
        if self.silent:
            raise UnavailableError("the ledger does not answer")
        return await schema_for(LedgerObjects(self.ledgers), schema_id, issuer, predicates)

    async def _make(
        self, schema_id: str, issuer: str, tag: str, predicates: Sequence[str], ids: Ids
    ) -> tuple[Json, Json, str]:
        self.asked.append((schema_id, issuer, tag, list(predicates)))
        entry = vectors()["cred_defs"]["licence"]
        of = {"issuerId": issuer, "schemaId": schema_id}
        public = {**entry["public"], **{key: spelled(of[key], ids, "local") for key in of}}
        secret = {"private": entry["TEST_ONLY_private"], "key_proof": entry["key_proof"]}
        return public, secret, "local"

    async def did(self, **wish: Any) -> str:
        return str((await self.commands.create_did(CreateDid(**wish)))["did"])


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    store = await Store.open(Sqlite(tmp_path / "store.db"), STORE_KEY, {})
    writer = asyncio.create_task(store.run())
    yield Made(await store.profile("main"))
    writer.cancel()
    with suppress(asyncio.CancelledError):
        await writer
    await store.close()


@asynccontextmanager
async def working(made: Made) -> AsyncGenerator[None]:
    work = asyncio.create_task(made.jobs.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def done(made: Made, job: Job) -> Job:
    async with asyncio.timeout(20):
        while job.state != State.DONE:
            assert job.state in OPEN, job.error
            await asyncio.sleep(0.01)
            job = Job.model_validate(await made.profile.get(JOB, job.id))
    return job


# -- who signs -------------------------------------------------------------------------------------


async def test_the_only_did_of_ours_signs_where_none_is_named(made: Made) -> None:
    with pytest.raises(NotFoundError, match="create one first"):
        await made.commands.register_nym(NYM)
    ours = await made.did()
    assert (await made.commands.register_nym(NYM)).submitter == ours


async def test_a_did_that_is_made_later_never_signs_for_an_earlier_one(made: Made) -> None:
    first, second = await made.did(), await made.did()
    commands = made.commands
    schema = CreateSchema(name="a", version="1.0", attributes=("x",))
    endpoint = WriteEndpoint(endpoint="http://office.example")
    for command in (
        partial(commands.register_nym, NYM),
        partial(commands.create_schema, schema),
        partial(commands.create_cred_def, CreateCredDef(schema_id=SCHEMA)),
        partial(commands.write_endpoint, endpoint),
    ):
        with pytest.raises(BadCommandError, match=f"name one: {first}, {second}"):
            await command()
    assert await made.profile.find(JOB) == []
    for did in (first, second):
        named = NYM.model_copy(update={"submitter": did})
        assert (await made.commands.register_nym(named)).submitter == did


async def test_a_did_of_another_network_signs_nothing_here(made: Made) -> None:
    elsewhere = await made.did(namespace="other")
    here = RegisterNym(did=f"did:indy:local:{SOMEBODY}", verkey=VERKEY)
    with pytest.raises(NotFoundError, match="could sign"):
        await made.commands.register_nym(here)
    ours = await made.did(namespace="local")
    assert (await made.commands.register_nym(here)).submitter == ours
    there = here.model_copy(update={"did": f"did:indy:other:{SOMEBODY}"})
    assert (await made.commands.register_nym(there)).submitter == elsewhere
    with pytest.raises(BadCommandError, match="several"):
        await made.commands.register_nym(NYM)  # its DID may be of either network


async def test_a_did_of_ours_may_be_named_by_its_older_forms(made: Made) -> None:
    ours, elsewhere = await made.did(namespace="local"), await made.did(namespace="other")
    bare = ours.rpartition(":")[2]
    here = RegisterNym(did=f"did:indy:local:{SOMEBODY}", verkey=VERKEY)
    for name in (ours, bare, f"did:sov:{bare}"):
        named = here.model_copy(update={"submitter": name})
        assert (await made.commands.register_nym(named)).submitter == ours
        written = WriteEndpoint(did=name, endpoint="http://office.example")
        job = await made.commands.write_endpoint(written)
        assert (job.write or {})["did"] == ours
    for name in (SOMEBODY, f"did:sov:{SOMEBODY}", elsewhere.replace("other", "local")):
        named = here.model_copy(update={"submitter": name})
        with pytest.raises(NotFoundError, match=f"{name} is not a DID of ours"):
            await made.commands.register_nym(named)
    with pytest.raises(BadIdError, match="is not a DID of an Indy ledger"):
        await made.commands.register_nym(here.model_copy(update={"submitter": "did:web:a.b"}))


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "attributes", "says"),
    [
        pytest.param("Degree/2026", "1.0", ["a"], "leave out '/'", id="schema-01-slash"),
        pytest.param("Degree:2026", "1.0", ["a"], "leave out ':'", id="a colon"),
        pytest.param("C# developer", "1.0", ["a"], "leave out '#'", id="a hash"),
        pytest.param("Card ", "1.0", ["a"], "leave out the blanks", id="a blank at the end"),
        pytest.param("v", "1", ["a"], "not a version like 1.0", id="schema-02-version-1"),
        pytest.param("v", "1.0", ["Name", "name"], "one attribute", id="schema-04-case-twins"),
        pytest.param("v", "1.0", ["last, first"], "leave out ','", id="schema-05-comma"),
    ],
)
async def test_a_schema_that_others_would_read_otherwise_is_refused(
    made: Made, name: str, version: str, attributes: list[str], says: str
) -> None:
    await made.did()
    wish = CreateSchema(name=name, version=version, attributes=tuple(attributes))
    with pytest.raises(BadWriteError, match=says):
        await made.commands.create_schema(wish)
    assert await made.profile.find(JOB) == []


async def test_schema_07_blanks_in_attribute_names_are_taken(made: Made) -> None:
    await made.did()
    wish = CreateSchema(name="v7", version="1.0", attributes=("name ", " id"))
    assert (await made.commands.create_schema(wish)).kind == "schema"


def test_schema_09_a_version_is_text() -> None:
    with pytest.raises(ValidationError, match="version"):
        CreateSchema.model_validate({"name": "v9", "version": 1.0, "attributes": ["a"]})


async def test_schema_10_the_submitter_may_be_named_with_did_sov(made: Made) -> None:
    ours = await made.did()
    wish = CreateSchema(
        name="v10", version="1.0", attributes=("a",), submitter=f"did:sov:{ours}"
    )
    assert (await made.commands.create_schema(wish)).submitter == ours


@pytest.mark.parametrize("tag", ["test:test", "2026/1", "https://x.example#y", "", "a ", "a|b"])
async def test_tag_02_a_tag_that_cannot_be_is_refused_before_keys_are_made(
    made: Made, tag: str
) -> None:
    await made.did()
    with pytest.raises(BadWriteError, match="tag"):
        await made.commands.create_cred_def(CreateCredDef(schema_id=SCHEMA, tag=tag))
    assert await made.profile.find(JOB) == []
    assert made.asked == []


@pytest.mark.parametrize("tag", ["TD 1", "Ausweis — ß", "🏛"])
async def test_tag_01_a_tag_in_any_script_is_taken(made: Made, tag: str) -> None:
    await made.did()
    wish = CreateCredDef(schema_id=SCHEMA, tag=tag)
    assert (await made.commands.create_cred_def(wish)).args["tag"] == tag


# -- what a definition promises --------------------------------------------------------------------


async def test_sec_i09_predicates_are_kept_with_the_definition(made: Made) -> None:
    async with working(made):
        await made.did(seed="000000000000000000000000Trustee1")
        wish = CreateCredDef(schema_id=SCHEMA, predicates=("category",))
        await done(made, await made.commands.create_cred_def(wish))
    assert made.asked == [(SCHEMA, OFFICE, "default", ["category"])]
    ((_, record),) = await made.profile.find(CRED_DEF)
    assert record["predicates"] == ["category"]
    assert LICENCE.endswith(record["id"].rpartition("/")[2])


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"schema_id": "hello"}, "'hello' is not a schema id"),
        ({"schema_id": OFFICE}, f"'{OFFICE}' is not a schema id"),
        ({"schema_id": f"{OFFICE}:2:nothing:1.0"}, "no configured ledger has the schema"),
        ({"schema_id": SCHEMA, "predicates": ("age",)}, "no attribute 'age'; it has: name"),
    ],
)
async def test_a_definition_that_its_schema_cannot_have_is_refused_at_once(
    made: Made, wish: Json, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_objects, "RETRY_PAUSES_S", ())
    await made.did()
    with pytest.raises((BadIdError, BadCommandError), match=words):
        await made.commands.create_cred_def(CreateCredDef.model_validate(wish))
    assert await made.profile.find(JOB) == []


async def test_where_the_ledger_does_not_answer_the_job_finds_out(made: Made) -> None:
    made.silent = True
    await made.did()
    wish = CreateCredDef(schema_id=SCHEMA, predicates=("age",))
    assert (await made.commands.create_cred_def(wish)).state in OPEN


async def test_sec_i09_a_promise_about_no_attribute_is_refused_before_keys_are_made() -> None:
    native = Native(threads=1, room=1, deadline_s=1)
    make = partial(make_keys, Scope(native, keep=1), LedgerObjects(Ledgers([ledger()])))
    with pytest.raises(BadCommandError, match=r"SEC-I09: .*no attribute 'age'; it has: name"):
        await make(SCHEMA, OFFICE, "default", ["category", "age"], "unqualified")
    native.close()


# -- how ids are written ---------------------------------------------------------------------------


async def test_a_did_of_ours_is_found_in_any_form(made: Made) -> None:
    bare = await made.did()
    named = await made.did(namespace="local")
    for did, ours in (
        (bare, bare),
        (f"did:sov:{bare}", bare),
        (f"did:indy:local:{bare}", bare),
        (named, named),
        (named.rpartition(":")[2], named),
        (f"did:sov:{named.rpartition(':')[2]}", named),
    ):
        job = await made.commands.register_nym(NYM.model_copy(update={"submitter": did}))
        assert job.submitter == ours
    other = named.replace(":local:", ":other:")
    for did in (other, SOMEBODY):
        with pytest.raises(NotFoundError, match="is not a DID of ours that could sign this"):
            await made.commands.register_nym(NYM.model_copy(update={"submitter": did}))
    with pytest.raises(BadIdError):
        await made.commands.register_nym(NYM.model_copy(update={"submitter": "no DID"}))


@pytest.mark.parametrize(
    ("namespace", "preferred", "ids", "named"),
    [
        (None, None, None, False),
        (None, None, "qualified", True),
        (None, "qualified", None, True),
        (None, "qualified", "unqualified", False),
        ("local", None, None, True),
        ("local", None, "unqualified", False),
        ("local", "unqualified", None, False),
        ("local", "unqualified", "qualified", True),
    ],
)
async def test_results_have_the_form_of_the_did_or_the_one_that_is_wished_for(
    made: Made, namespace: str | None, preferred: Ids | None, ids: Ids | None, *, named: bool
) -> None:
    await made.did(seed="000000000000000000000000Trustee1", namespace=namespace)
    await made.commands.set_preferences(SetPreferences(ids=preferred))
    assert await made.commands.preferences() == {"ids": preferred}
    wish = CreateSchema(name="a", version="1.0", attributes=("x",), ids=ids)
    async with working(made):
        schema = await done(made, await made.commands.create_schema(wish))
        definition = CreateCredDef(schema_id=SCHEMA, ids=ids)
        cred_def = await done(made, await made.commands.create_cred_def(definition))
    number = LICENCE.split(":")[3]
    office = f"did:indy:local:{OFFICE}/anoncreds/v0"
    expected = (
        [f"{office}/SCHEMA/a/1.0", f"{office}/CLAIM_DEF/{number}/default"]
        if named
        else [f"{OFFICE}:2:a:1.0", LICENCE]
    )
    assert [schema.result, cred_def.result] == expected
    ((_, record),) = await made.profile.find(CRED_DEF)
    assert [record["id"], record["public"]["issuerId"]] == [
        expected[1],
        f"did:indy:local:{OFFICE}" if named else OFFICE,
    ]


async def test_what_is_on_the_ledger_is_adopted_whatever_form_names_it(made: Made) -> None:
    await made.did(seed="000000000000000000000000Trustee1")
    results: dict[Ids, Job] = {}
    forms: tuple[Ids, ...] = ("unqualified", "qualified")
    async with working(made):
        for ids in forms:
            wish = CreateSchema(name="a", version="1.0", attributes=("x",), ids=ids)
            results[ids] = await done(made, await made.commands.create_schema(wish))
    assert results["qualified"].result == f"did:indy:local:{OFFICE}/anoncreds/v0/SCHEMA/a/1.0"
    assert results["unqualified"].result == f"{OFFICE}:2:a:1.0"
    assert results["qualified"].seq_no == results["unqualified"].seq_no
    assert len(await made.profile.find("schema")) == 1
    assert made.ledgers.network("other")._state.schemas == {}  # type: ignore[attr-defined]


async def test_a_schema_goes_to_the_network_that_its_did_names_in_either_form(
    made: Made,
) -> None:
    await made.did(seed="000000000000000000000000Trustee1", namespace="other")
    wish = CreateSchema(name="a", version="1.0", attributes=("x",), ids="unqualified")
    async with working(made):
        job = await done(made, await made.commands.create_schema(wish))
    assert (job.network, job.result) == ("other", f"{OFFICE}:2:a:1.0")
    assert await made.ledgers.network("other").get_schema(str(job.result)) is not None
    assert await made.ledgers.network("local").get_schema(str(job.result)) is None


async def test_an_issuer_of_another_network_than_the_schema_is_refused() -> None:
    native = Native(threads=1, room=1, deadline_s=1)
    objects = LedgerObjects(Ledgers([ledger(), MemoryRegistry("other")]))
    issuer = f"did:indy:other:{OFFICE}"
    with pytest.raises(BadCommandError, match="is not of the network local"):
        await make_keys(
            Scope(native, keep=1), objects, SCHEMA, issuer, "default", [], "qualified"
        )
    native.close()


# -- several processes -----------------------------------------------------------------------------


async def test_a_job_that_another_process_has_taken_over_is_left_to_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, go = asyncio.Event(), asyncio.Event()

    async def find(_write: object) -> None:
        found.set()
        await go.wait()

    monkeypatch.setattr(made.ledgers._registries[0], "find", find)
    await made.did()
    running = asyncio.create_task(made.jobs.run())
    await asyncio.sleep(0)
    job = await made.commands.register_nym(NYM)
    await found.wait()
    made.jobs.drop()
    go.set()
    await asyncio.sleep(0.05)
    assert not made.jobs.busy
    assert (await made.profile.get(JOB, job.id))["state"] == State.STARTED
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
