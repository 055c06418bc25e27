"""A DID's document is made of its NYM and the attribute `endpoint`, in all shapes that ledgers have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keep_ledger.did_resolution import resolved
from keep_ledger.interface import Nym, Resolved
from keep_ledger.json_object import Json
from keep_ledger.memory import MemoryRegistry
from keep_ledger.testing.conformance import Person

ME = Person.new()
URL = "https://agent.example/didcomm/"
KEY = Person.new().verkey
DID_KEY = "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH"


class Ledger(MemoryRegistry):
    """A ledger that has one DID."""

    def __init__(self, attrib: Json | None, content: Json | None, verkey: str | None) -> None:
        super().__init__("local")
        self.attrib = attrib
        self.nym = Nym(ME.did, verkey, None, 7, content)

    async def get_nym(self, did: str) -> Nym | None:
        return self.nym

    async def get_attrib(self, did: str, name: str) -> Json | None:
        assert name == "endpoint"
        return self.attrib


async def read(attrib: Json | None = None, content: Json | None = None) -> Resolved:
    found = await resolved(Ledger(attrib, content, ME.verkey), ME.did)
    assert found is not None
    assert found.verkey == ME.verkey
    return found


def service(**members: Any) -> Json:
    return {"id": "#a", "type": "did-communication", "serviceEndpoint": URL} | members


@pytest.mark.parametrize(
    ("attrib", "url", "keys"),
    [
        pytest.param({"endpoint": {"endpoint": URL}}, URL, (), id="attrib-01-plain"),
        pytest.param({"endpoint": {"agent": URL}}, URL, (), id="attrib-02-agent"),
        pytest.param({"endpoint": URL}, None, (), id="attrib-04-text"),
        pytest.param(
            {"endpoint": {"endpoint": URL, "routingKeys": [], "types": ["endpoint", "DIDComm", "did-communication"]}},
            URL, (), id="attrib-05-types-routing",
        ),
        pytest.param(
            {"endpoint": {"endpoint": {"endpoint": URL, "routingKeys": [KEY], "types": ["did-communication"]}, "profile": URL}},
            URL, (KEY,), id="attrib-07-nested-twice",
        ),
        pytest.param({"endpoint": {"endpoint": {"agent": URL}}}, URL, (), id="nested agent"),
        pytest.param(
            {"endpoint": {"endpoint": {"endpoint": {"endpoint": URL}}}}, URL, (), id="nested thrice"
        ),
        pytest.param({"endpoint": {"endpoint": None}}, None, (), id="attrib-08-null"),
        pytest.param(
            {"endpoint": {"endpoint": URL, "routingKeys": None}}, URL, (), id="null routing keys"
        ),
        pytest.param(
            {"endpoint": {"endpoint": URL, "routingKeys": [DID_KEY]}}, URL, (DID_KEY,), id="attrib-10-routing-did-key",
        ),
        pytest.param({"endpoint": {"xdi": URL}}, None, (), id="attrib-11-xdi"),
        pytest.param({"endpoint": {"ha": "192.0.2.1:5555"}}, None, (), id="the nodes' own"),
        pytest.param({"endpoint": {"endpoint": "192.0.2.1:5555"}}, None, (), id="no URL"),
        pytest.param({"endpoint": {"endpoint": "http://[x"}}, None, (), id="a broken URL"),
        pytest.param({"endpoint": None}, None, (), id="attrib-13-removed"),
        pytest.param({"endpoint": []}, None, (), id="a list"),
        pytest.param({"endpoint": {"endpoint": [URL]}}, None, (), id="a list of endpoints"),
        pytest.param(None, None, (), id="no attribute"),
        pytest.param(
            {"endpoint": {"endpoint": URL, "types": ["DIDComm"]}}, None, (), id="only for DIDComm v2",
        ),
        pytest.param({"endpoint": {"endpoint": URL, "types": ["endpoint"]}}, URL, (), id="a type of its own"),
    ],
)  # fmt: skip
async def test_the_endpoint_is_read_in_every_shape_of_the_attribute(
    attrib: Json | None, url: str | None, keys: tuple[str, ...]
) -> None:
    found = await read(attrib)
    assert (found.endpoint, found.routing_keys) == (url, keys)


@pytest.mark.parametrize(
    ("services", "url", "keys"),
    [
        ([service()], URL, ()),
        ([service(routingKeys=[KEY], recipientKeys=["#verkey"])], URL, (KEY,)),
        ([service(type="IndyAgent", priority=None)], URL, ()),
        ([service(type=["LinkedDomains"]), service(serviceEndpoint="https://b.example")],
         "https://b.example", ()),
        ([service(priority=2, serviceEndpoint="https://b.example"), service(priority=1)], URL, ()),
        ([service(serviceEndpoint="didcomm:transport/queue"), service(priority=9)], URL, ()),
        ([service(type="DIDCommMessaging", serviceEndpoint={"uri": URL, "routingKeys": [KEY]})],
         URL, (KEY,)),
        ([service(type="DIDCommMessaging", serviceEndpoint=[{"uri": URL}])], URL, ()),
        ([service(type="DIDCommMessaging", serviceEndpoint="https://b.example"),
          service(priority=5)], URL, ()),
        ([service(type="DIDCommMessaging", serviceEndpoint={"uri": URL, "accept": ["didcomm/v2"]})],
         None, ()),
        ([service(type="DIDCommMessaging", accept=["didcomm/v2", "didcomm/aip2;env=rfc19"])],
         URL, ()),
        ([], None, ()),
        (None, None, ()),
        (["no object", service()], URL, ()),
        ([service(type=None), service(serviceEndpoint=None), service(serviceEndpoint=7)], None, ()),
    ],
)  # fmt: skip
async def test_nym_04_the_first_service_of_diddoc_content_that_can_be_used(
    services: Any, url: str | None, keys: tuple[str, ...]
) -> None:
    found = await read({"endpoint": {"endpoint": "https://old.example"}}, {"service": services})
    assert (found.endpoint, found.routing_keys) == (url, keys)


async def test_content_without_services_leaves_the_attribute_in_force() -> None:
    found = await read({"endpoint": {"endpoint": URL}}, {"alsoKnownAs": ["did:example:1"]})
    assert found.endpoint == URL
    assert found.document["alsoKnownAs"] == ["did:example:1"]


async def test_content_is_added_to_the_key_of_the_nym() -> None:
    more = {"id": "#agreement", "type": "X25519KeyAgreementKey2019"}
    content: Json = {
        "id": "did:example:somebody-else",
        "@context": ["https://www.w3.org/ns/did/v1"],
        "verificationMethod": [more],
        "authentication": "no list",
        "keyAgreement": ["#agreement"],
        "service": [service()],
    }
    document = (await read(content=content)).document
    own = f"{ME.did}#verkey"
    assert document["id"] == ME.did
    assert [method["id"] for method in document["verificationMethod"]] == [own, "#agreement"]
    assert document["verificationMethod"][0]["publicKeyBase58"] == ME.verkey
    assert document["authentication"] == [own]
    assert document["keyAgreement"] == ["#agreement"]
    assert document["service"] == [service()]
    assert json.loads(json.dumps(document)) == document


async def test_nym_01_a_did_without_a_key_has_no_document() -> None:
    assert await resolved(Ledger(None, {"service": [service()]}, None), ME.did) is None
