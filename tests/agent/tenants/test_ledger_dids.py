"""A DID on a ledger is reached where its ledger says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agent.tenants.house import living

from keep_ledger.memory import MemoryRegistry
from keep_ledger.plugins import Ledgers
from keep_ledger.testing.conformance import Person, registered, written
from keep_ledger.writes import WriteAttrib

URL = "https://agent.example/didcomm"
DID_KEY = "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH"
SAME_KEY = "B12NYF8RrR3h41TDCTJojY59usg3mbtbjnFs7Eud1Y6u"


async def test_the_document_of_a_did_is_that_of_its_ledger(tmp_path: Path) -> None:
    ledger = MemoryRegistry("local")
    person, mediator = await registered(ledger, None), Person.new()
    keys = (mediator.verkey, DID_KEY)
    await written(ledger, WriteAttrib.endpoint(person.did, URL, keys), person)
    async with living(tmp_path) as house:
        [name] = await house.make("Alice")
        async with house.tenants.use(name) as tenant:
            tenant.around = replace(tenant.around, ledgers=Ledgers([ledger]))
            for did in (person.did, f"did:sov:{person.did}", f"did:indy:local:{person.did}"):
                found = await tenant._ask_ledger(did)
                assert found is not None
                assert found.known_as == f"did:indy:local:{person.did}"
                document = found.document
                assert document.didcomm.endpoint == URL
                assert document.didcomm.recipient_keys == (person.verkey,)
                assert document.didcomm.routing_keys == (mediator.verkey, SAME_KEY)
            assert await tenant._ask_ledger(Person.new().did) is None
