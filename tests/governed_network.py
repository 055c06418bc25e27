"""A real pool whose rules the tests may change: five trustees, an endorser, a steward.

It is not the pool of all other tests. What a test did to rules, keys and roles is undone after it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import base58
import pytest
import pytest_asyncio
from indy_vdr import VdrError
from indy_vdr.ledger import build_custom_request
from nacl.signing import SigningKey

from keep_ledger.indy.current_objects import ledger_of
from keep_ledger.indy.native_pool import NativePool
from keep_ledger.json_object import Json
from keep_ledger.multisig.rules.auth_rules import RuleKey
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.testing.fixture import IndyNetwork

_RULES = ("120", "122")
_numbers = itertools.count(time.time_ns())


class LedgerRefusal(Exception):  # noqa: N818 - it is an answer
    """What the ledger said."""


@dataclass(frozen=True)
class Person:
    """A DID and a key; the ledger knows whether it is the key of that DID."""

    did: str
    key: SigningKey = field(repr=False)

    @classmethod
    def of(cls, seed: bytes) -> Self:
        """Somebody whose DID is made of the key of a seed."""
        key = SigningKey(seed)
        return cls(base58.b58encode(bytes(key.verify_key)[:16]).decode(), key)

    @property
    def verkey(self) -> str:
        """Base58, whole."""
        return base58.b58encode(bytes(self.key.verify_key)).decode()


class Governed:
    """The pool, and who governs it.

    Attributes:
        genesis: the file for clients.
        trustees: five; the first is the only one in the genesis.
        endorser: one that is registered.
    """

    def __init__(self, genesis: Path, pool: NativePool) -> None:
        self.genesis = genesis
        self._pool = pool
        self._people: dict[str, list[Person]] = {}
        self._touched: set[RuleKey] = set()
        first = self._met(Person.of(b"000000000000000000000000Trustee1"))
        others = [
            self._met(Person.of(f"governed{n}".encode().rjust(32, b"0"))) for n in range(4)
        ]
        self.trustees = (first, *others)
        self.endorser = self._met(Person.of(b"governed.endorser".rjust(32, b"0")))

    def person(self, did: str | None = None) -> Person:
        """Somebody new; or, with a DID, a new key for it."""
        key = SigningKey.generate()
        made = Person.of(bytes(key))
        return self._met(made if did is None else Person(did, key))

    def _met(self, person: Person) -> Person:
        self._people.setdefault(person.did, []).append(person)
        return person

    def request(self, operation: Json, author: Person, endorser: Person | None = None) -> Json:
        """A request without signatures."""
        body: Json = {"identifier": author.did, "reqId": next(_numbers), "protocolVersion": 2}
        body |= {"endorser": endorser.did} if endorser else {}
        return body | {"operation": operation}

    async def write(
        self, operation: Json, *signers: Person, endorser: Person | None = None
    ) -> Json:
        """Write as the first of the signers, all of whom sign; the reply.

        Raises:
            LedgerRefusal: the ledger said no.
        """
        return await self.send(self.request(operation, signers[0], endorser), *signers)

    async def send(self, body: Json, *signers: Person) -> Json:
        """Sign a request and send it; `signatures` if there are several signers or an endorser.

        Raises:
            LedgerRefusal: the ledger said no.
        """
        said = build_custom_request(json.dumps(body)).signature_input
        made = {signer.did: signer.key.sign(said).signature for signer in signers}
        return await self.send_signed(body, made)

    async def send_signed(self, body: Json, signatures: Mapping[str, bytes]) -> Json:
        """Send a request with signatures that somebody gave; the reply.

        Raises:
            LedgerRefusal: the ledger said no.
        """
        request = build_custom_request(json.dumps(body))
        for did, signature in signatures.items():
            if len(signatures) == 1 and "endorser" not in body:
                request.set_signature(signature)
            else:
                request.set_multi_signature(did, signature)
        try:
            reply: Json = await self._pool.submit_request(request)
        except VdrError as error:
            raise LedgerRefusal(str(error)) from error
        self.expect(body["operation"])
        await self._spread(ledger_of(body), reply["txnMetadata"]["seqNo"])
        return reply

    async def _spread(self, ledger_id: int, number: int) -> None:
        """Wait until every node has it: a read may ask one that is a little behind."""
        operation = {"type": "3", "ledgerId": ledger_id, "data": number}
        async with asyncio.timeout(20):
            while True:
                body = json.dumps(self.request(operation, self.trustees[0]))
                told = await self._pool.submit_action(build_custom_request(body))
                if all(json.loads(text)["result"]["data"] for text in told.values()):
                    return
                await asyncio.sleep(0.02)

    async def ask(self, operation: Json) -> Json:
        """Read something."""
        body = self.request(operation, self.trustees[0])
        return dict(await self._pool.submit_request(build_custom_request(json.dumps(body))))

    async def nym(self, did: str) -> tuple[str | None, str | None] | None:
        """Verkey and role, if it is there."""
        reply = await self.ask({"type": "105", "dest": did})
        if reply["data"] is None:
            return None
        data: Json = json.loads(reply["data"])
        verkey, role = data["verkey"], data["role"]
        if verkey and verkey.startswith("~"):
            verkey = base58.b58encode(
                base58.b58decode(did) + base58.b58decode(verkey[1:])
            ).decode()
        return verkey, role

    def expect(self, operation: Json) -> None:
        """Know which rules are to be put back, when somebody else writes this."""
        if operation["type"] in _RULES:
            self._touched |= {RuleKey.of(one) for one in operation.get("rules", [operation])}

    async def set_up(self) -> None:
        """Register who is not there yet."""
        first = self.trustees[0]
        for person, role in [*((t, "0") for t in self.trustees[1:]), (self.endorser, "101")]:
            body = {"type": "1", "dest": person.did, "verkey": person.verkey, "role": role}
            await self.write(body, first)

    async def reset(self) -> None:
        """Undo what was done to rules, trustees and the endorser."""
        if self._touched:
            rules = [
                key.to_json() | {"constraint": DEFAULTS[key].to_json()} for key in self._touched
            ]
            await self.write({"type": "122", "rules": rules}, *await self._in_office())
            self._touched.clear()
        for did, known in self._people.items():
            await self._put_back(known[0], did)

    async def _in_office(self) -> list[Person]:
        """Everybody that we made who is a trustee now, with the key of now."""
        found: list[Person] = []
        for did, known in self._people.items():
            now = await self.nym(did)
            if now is not None and now[1] == "0":
                found += [one for one in known if one.verkey == now[0]]
        return found

    async def _put_back(self, person: Person, did: str) -> None:
        now = await self.nym(did)
        if now is None:
            return
        verkey, role = now
        if verkey != person.verkey:
            holder = next(one for one in self._people[did] if one.verkey == verkey)
            await self.write({"type": "1", "dest": did, "verkey": person.verkey}, holder)
        wanted = "0" if person in self.trustees else "101" if person is self.endorser else None
        if role != wanted:
            first = self.trustees[0]
            await self.write({"type": "1", "dest": did, "role": wanted}, first)
        if person not in (*self.trustees, self.endorser):
            self._people[did] = [person]


@pytest.fixture(scope="session")
def governed_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndyNetwork]:
    """A pool of its own, since its rules change."""
    network = IndyNetwork(tmp_path_factory.mktemp("governed") / "network")
    yield network
    network.stop()


@pytest_asyncio.fixture(scope="session")
async def governed_once(governed_network: IndyNetwork) -> AsyncIterator[Governed]:
    with closing(NativePool(governed_network.genesis.read_text())) as pool:
        await pool.refresh()
        governed = Governed(governed_network.genesis, pool)
        await governed.set_up()
        yield governed


@pytest_asyncio.fixture
async def governed(governed_once: Governed) -> AsyncIterator[Governed]:
    """The pool with five trustees; as it was after each test."""
    yield governed_once
    await governed_once.reset()
