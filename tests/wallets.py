"""Tenants with a wallet over a real store, the published test keys and ledgers in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

from keep_agent.app import PROCESSES
from keep_agent.core.machine import Put
from keep_agent.core.message import Json
from keep_agent.credentials.formats import Ids
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.presentations import Prover
from keep_agent.credentials.verification import Verification
from keep_agent.credentials.wallet import Wallet, make_link_secret, new_cred_def
from keep_agent.protocols.issue_credential_2 import Values
from keep_agent.store.location import Location, Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_agent.store.store import Store
from keep_agent.tenants.tenant import MAIN
from keep_ledger.identifiers import CredDefId, qualify, unqualify
from keep_ledger.interface import CredDef, Nym, Schema
from keep_ledger.memory import MemoryRegistry
from keep_ledger.plugins import Ledgers
from keep_zkp.issuer import CredDefKeys
from keep_zkp.native import Native, Scope
from keep_zkp.voices import Voices

STORE_KEY = "8EKdKDq6GunEvgmJfxuK8fad7zWY4oTjnfKDEfo6weWe"  # base58 of 32 bytes
NAMESPACE = "local"
OFFICE = "V4SGRU86Z58d6TV7PBUe6f"
LICENCE = f"{OFFICE}:3:CL:12:default"
LICENCE_INDY = f"did:indy:{NAMESPACE}:{OFFICE}/anoncreds/v0/CLAIM_DEF/12/default"
ALICE: Values = {
    "name": "Alice Ärmel",
    "birthdate_dateint": "19990512",
    "category": "B",
    "number": "L-77 123",
}
CHILD: Values = {**ALICE, "name": "Bob", "birthdate_dateint": "20140101"}


@cache
def vectors() -> Json:
    """Return the published test keys (see tests/zkp/make_vectors.py)."""
    path = Path(__file__).parent / "zkp" / "vectors" / "keys.json"
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found


def ledger(namespace: str = NAMESPACE) -> MemoryRegistry:
    """Return a network that has every test schema and credential definition of the office."""
    registry = MemoryRegistry(namespace)
    state = registry._state
    state.nyms[OFFICE] = Nym(OFFICE, None, None, 1)
    for name, body in vectors()["schemas"].items():
        if not name.startswith("did:"):
            of = (body["issuerId"], body["name"], body["version"], tuple(body["attrNames"]))
            state.schemas[name] = Schema(name, *of, 12)
    for each in vectors()["cred_defs"].values():
        if not each["id"].startswith("did:"):
            publish(registry, each["id"], each)
    return registry


def publish(registry: MemoryRegistry, cred_def_id: str, keys: Json) -> None:
    """Put the public half of these keys on a ledger, under an id without network."""
    value = json.dumps(keys["public"]["value"])
    tag = CredDefId.parse(cred_def_id).tag
    registry._state.cred_defs[cred_def_id] = CredDef(
        cred_def_id, OFFICE, keys["schema_id"], tag, value, 13
    )


def issuer_keys(name: str, *, legacy: bool = False) -> tuple[Put, ...]:
    """Return the records of a credential definition of the office."""
    entry = vectors()["cred_defs"][name]
    public = dict(entry["public"])
    spell = unqualify if legacy else _qualified
    public |= {key: spell(public[key]) for key in ("issuerId", "schemaId")}
    keys = CredDefKeys(public, entry["TEST_ONLY_private"], entry["key_proof"])
    return new_cred_def(spell(entry["id"]), NAMESPACE, keys)


def _qualified(text: str) -> str:
    return qualify(text, NAMESPACE)


class Tenant:
    """One tenant: a profile of a store, and both ports over it."""

    def __init__(self, profile: Profile, scope: Scope, ledgers: Ledgers) -> None:
        objects = LedgerObjects(ledgers)
        self.profile = profile
        self.scope = scope
        self.credentials = Wallet(profile, scope, objects)
        self.verification = Verification(profile, Voices())
        self.proofs = Prover(profile, scope, objects, self.verification)

    async def write(self, *writes: Put) -> None:
        await self.profile.commit(Commit(writes=writes))


@asynccontextmanager
async def tenants(
    path: Path, *names: str, networks: tuple[MemoryRegistry, ...] = ()
) -> AsyncGenerator[tuple[Tenant, ...]]:
    """Open a store with these tenants; the first is the office and has the key `licence`."""
    native = Native(threads=2, room=256, deadline_s=60)
    ledgers = Ledgers(networks or (ledger(),))
    store = await Store.open(Sqlite(path / "store.db"), STORE_KEY, {})
    writer = asyncio.create_task(store.run())
    made: list[Tenant] = []
    for name in names:
        tenant = Tenant(await store.profile(name), Scope(native, keep=64), ledgers)
        await make_link_secret(tenant.profile, tenant.scope)
        made.append(tenant)
    await made[0].write(*issuer_keys("licence"))
    try:
        yield tuple(made)
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        await store.close()
        native.close()


async def issue(
    issuer: Tenant,
    holder: Tenant,
    name: str,
    values: Values,
    wanted: str = LICENCE,
    ids: Ids | None = None,
) -> None:
    """Issue one credential from port to port and keep it."""
    offer = await issuer.credentials.offer({"cred_def_id": wanted}, values, "anoncreds", ids)
    request = await holder.credentials.request(offer.attachment, values)
    credential = await issuer.credentials.issue(offer.kept, request.attachment, values)
    await holder.write(await holder.credentials.check(name, credential, request.kept, values))


async def give_issuer_keys(location: Location, folder: Path) -> None:
    """Put the key `licence` into a store that no process has open yet.

    Args:
        folder: of an agent that will open it, or an empty one.
    """
    store = await Store.open(location, STORE_KEY, {}, folder / PROCESSES)
    writer = asyncio.create_task(store.run())
    profile = await store.profile(MAIN)
    await profile.commit(Commit(writes=issuer_keys("licence")))
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    await store.close()
