"""What others have written to real ledgers and we would not write ourselves is read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from indy_vdr.ledger import build_custom_request
from pool import Network

from keep_ledger.errors import BadIdError, NotWrittenError
from keep_ledger.indy import IndyRegistry, open_ledger, requests
from keep_ledger.indy.network_client import NetworkClient
from keep_ledger.json_object import Json
from keep_ledger.plugins import LedgerConfig
from keep_ledger.testing.conformance import CRED_DEF, TRUSTEE, Person

pytestmark = pytest.mark.pool

URL = "https://agent.example/didcomm/"
SCHEMAS: dict[str, tuple[str, list[str]]] = {
    "sch-01-slash": ("Degree/2026", ["a"]),
    "sch-03-trailing-space": ("Card ", ["a"]),
    "sch-04-hash": ("C# developer", ["a"]),
    "sch-06-comma-attr": ("c6", ["last, first", "b"]),
    "sch-07-case-twins": ("c7", ["Name", "name"]),
    "sch-09-emoji": ("🏛 pass", ["a"]),
    "sch-10-pipe": ("a|b", ["x|y"]),
    "a colon": ("li:cence", ["a"]),
    "a question": ("who?", ["a"]),
    "a blank before": (" card", ["a"]),
}
TAGS = {
    "cd-01-colon": "test:test",
    "cd-03-slash": "2026/1",
    "cd-06-unicode": "Ausweis ß",
    "cd-07-url": "https://x.example#y",
    "a blank at the end": "default ",
}


async def nothing(url: str) -> bytes:
    raise OSError(url)


class Field:
    """A ledger, written to with bare requests and read through the registry."""

    def __init__(self, registry: IndyRegistry, client: NetworkClient) -> None:
        self.registry = registry
        self._client = client

    async def write(self, operation: Json, author: Person = TRUSTEE) -> int:
        request = requests.request(operation, author.did)
        said = build_custom_request(json.dumps(request)).signature_input
        return await self._client.submit(request, author.sign(said))

    async def schema(self, name: str, names: list[str], author: Person) -> int:
        data: Json = {"name": name, "version": "1.0", "attr_names": names}
        return await self.write({"type": "101", "data": data}, author)

    async def person(self, **more: Any) -> Person:
        one = Person.new()
        await self.write({"type": "1", "dest": one.did, "verkey": one.verkey} | more)
        return one


@pytest.fixture
async def field(network: Network) -> AsyncIterator[Field]:
    registry = open_ledger(LedgerConfig("indy", "local", str(network.genesis)), nothing)
    async with NetworkClient(str(network.genesis), nothing) as client:
        yield Field(registry, client)
    await registry.close()


async def test_schemas_are_read_by_their_old_ids_whatever_their_names(field: Field) -> None:
    author = await field.person(role="101")
    for case, (name, names) in SCHEMAS.items():
        number = await field.schema(name, names, author)
        old = f"{author.did}:2:{name}:1.0"
        found = await field.registry.get_schema(old)
        assert found is not None, case
        assert (found.id, found.name, found.seq_no) == (old, name, number)
        assert set(found.attr_names) == set(names)
    with pytest.raises(BadIdError, match="no control character"):
        await field.registry.get_schema(f"{author.did}:2:line\nbreak:1.0")
    with pytest.raises(NotWrittenError):
        await field.schema("c12", [""], author)


async def test_cred_defs_are_read_by_their_old_ids_whatever_their_tags(field: Field) -> None:
    author = await field.person(role="101")
    number = await field.schema("Degree/2026", ["name"], author)
    head: Json = {"type": "102", "ref": number, "signature_type": "CL"}
    for case, tag in TAGS.items():
        await field.write(head | {"tag": tag, "data": CRED_DEF["value"]}, author)
        old = f"{author.did}:3:CL:{number}:{tag}"
        found = await field.registry.get_cred_def(old)
        assert found is not None, case
        assert (found.id, found.tag) == (old, tag)
        assert found.schema_id == f"{author.did}:2:Degree/2026:1.0"
        assert json.loads(found.anoncreds)["tag"] == tag
    with pytest.raises(BadIdError, match="cannot be a tag"):
        await field.registry.get_cred_def(f"{author.did}:3:CL:{number}:")


async def test_nym_04_the_service_of_diddoc_content_is_found(field: Field) -> None:
    service = {"id": "#a", "type": "did-communication", "serviceEndpoint": URL, "priority": 1}
    later = {"id": "#b", "type": "did-communication", "serviceEndpoint": "https://b.example"}
    content = {"service": [later | {"priority": 2}, service]}
    person = await field.person(diddocContent=json.dumps(content))
    found = await field.registry.resolve(f"did:sov:{person.did}")
    assert found is not None
    assert (found.verkey, found.endpoint) == (person.verkey, URL)
    nym = await field.registry.get_nym(person.did)
    assert nym is not None
    assert nym.diddoc_content == content


async def test_nym_01_and_02_a_nym_without_key_or_role_is_read(field: Field) -> None:
    bare = Person.new()
    await field.write({"type": "1", "dest": bare.did})
    nym = await field.registry.get_nym(bare.did)
    assert nym is not None
    assert nym.verkey is None
    assert await field.registry.resolve(bare.did) is None
    person = await field.person(role="101")
    await field.write({"type": "1", "dest": person.did, "role": None})
    nym = await field.registry.get_nym(person.did)
    assert nym is not None
    assert (nym.verkey, nym.role) == (person.verkey, None)


async def test_an_endpoint_that_the_ledger_takes_is_read(field: Field) -> None:
    person = await field.person()
    taken: tuple[tuple[Any, str | None], ...] = (
        ({"endpoint": {"endpoint": URL, "routingKeys": []}, "profile": URL}, URL),
        ({"agent": URL}, URL),
        ({"endpoint": None}, None),
        ({"xdi": URL}, None),
        ({"endpoint": URL, "types": ["did-communication"]}, URL),
        (None, None),
    )
    for value, url in taken:
        raw = json.dumps({"endpoint": value})
        await field.write({"type": "100", "dest": person.did, "raw": raw}, person)
        found = await field.registry.resolve(person.did)
        assert found is not None
        assert found.endpoint == url, raw
    with pytest.raises(NotWrittenError):
        await field.write(
            {"type": "100", "dest": person.did, "raw": json.dumps({"endpoint": URL})}, person
        )
