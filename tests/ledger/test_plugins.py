"""Several ledgers at once: each id finds its own."""

from __future__ import annotations

import pytest

from keep_ledger.codes import Role
from keep_ledger.errors import BadIdError, LedgerError, LedgerUnavailableError
from keep_ledger.interface import Finished, Nym
from keep_ledger.memory import MemoryRegistry
from keep_ledger.plugins import LedgerConfig, Ledgers
from keep_ledger.testing.conformance import TRUSTEE, Person, schema_of, send, written
from keep_ledger.writes import WriteNym


async def nothing(url: str) -> bytes:
    raise OSError(url)


class Down(MemoryRegistry):
    """A ledger that does not answer."""

    async def get_nym(self, did: str) -> Nym | None:
        raise LedgerUnavailableError(did)


async def test_a_write_goes_where_its_did_says() -> None:
    first, second = MemoryRegistry("sovrin"), MemoryRegistry("bcovrin:test")
    ledgers, person = Ledgers([first, second]), Person.new()
    write = WriteNym(f"did:indy:bcovrin:test:{person.did}", person.verkey, Role.ENDORSER)
    prepared = await ledgers.prepare(write, TRUSTEE.did)
    assert prepared.namespace == "bcovrin:test"
    result = await ledgers.submit(prepared, {TRUSTEE.did: bytes(64)})
    assert isinstance(result, Finished)
    assert await ledgers.find(write) == await ledgers.confirm(write) == result
    assert await first.get_nym(person.did) is None
    assert await second.get_nym(person.did) is not None


async def test_an_unqualified_id_is_looked_for_in_order() -> None:
    first, second = MemoryRegistry("sovrin"), MemoryRegistry("bcovrin:test")
    ledgers, issuer = Ledgers([first, second]), Person.new()
    await written(second, issuer.nym(Role.ENDORSER), TRUSTEE)
    schema = schema_of(issuer)
    done = await written(second, schema, issuer)
    found = await ledgers.get_schema(schema.id)
    assert found is not None
    assert found.seq_no == done.seq_no
    assert await ledgers.get_cred_def(f"{issuer.did}:3:CL:{done.seq_no}:default") is None
    resolved = await ledgers.resolve(issuer.did)
    assert resolved is not None
    assert resolved.endpoint is None
    assert await ledgers.get_attrib(issuer.did, "endpoint") is None
    assert isinstance(await send(first, issuer.nym(), TRUSTEE), Finished)
    unqualified = await ledgers.get_nym(issuer.did)
    assert unqualified is not None
    assert unqualified.role is None


async def test_a_silent_ledger_ends_the_search_but_not_for_others() -> None:
    ledgers = Ledgers([Down("sovrin"), MemoryRegistry("local")])
    with pytest.raises(LedgerUnavailableError):
        await ledgers.get_nym(TRUSTEE.did)
    assert await ledgers.get_nym(f"did:indy:local:{TRUSTEE.did}") is not None


async def test_an_unknown_network_is_refused() -> None:
    ledgers = Ledgers([MemoryRegistry("local")])
    with pytest.raises(BadIdError, match="no configured network"):
        await ledgers.get_nym(f"did:indy:sovrin:{TRUSTEE.did}")
    with pytest.raises(BadIdError, match="not configured"):
        ledgers.network("sovrin")
    with pytest.raises(BadIdError, match="no configured network"):
        await Ledgers([]).get_nym(TRUSTEE.did)


async def test_ledgers_open_by_entry_point() -> None:
    configs = [LedgerConfig("memory", "demo"), LedgerConfig("indy", "local", "http://local")]
    ledgers = Ledgers.open(configs, nothing)
    assert [status.namespace for status in ledgers.status()] == ["demo", "local"]
    assert [status.answers for status in ledgers.status()] == [True, None]
    assert isinstance(ledgers.network("demo"), MemoryRegistry)
    await ledgers.close()


def test_a_wrong_configuration_is_refused() -> None:
    with pytest.raises(LedgerError, match="no ledger plugin 'paper'; there are: indy, memory"):
        Ledgers.open([LedgerConfig("paper", "local")], nothing)
    with pytest.raises(LedgerError, match="one namespace"):
        Ledgers([MemoryRegistry("local"), MemoryRegistry("local")])
    with pytest.raises(BadIdError):
        LedgerConfig("indy", "no namespace")
