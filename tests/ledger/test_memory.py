"""The ledger in memory conforms, and says what it does not check."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest

from keep_ledger.interface import Failed, Taa, Why
from keep_ledger.memory import TRUSTEE as FIRST
from keep_ledger.memory import MemoryRegistry, open_ledger
from keep_ledger.plugins import LedgerConfig
from keep_ledger.testing.conformance import TRUSTEE, Conformance, Person


@dataclass(frozen=True)
class MemoryWorld:
    registry: MemoryRegistry

    async def agree_on(self, text: str | None) -> None:
        if text is None:
            self.registry.taa = None
        else:
            digest = hashlib.sha256(f"1.0{text}".encode()).hexdigest()
            self.registry.taa = Taa(text, "1.0", digest, {"on_file": "on file"})


class TestMemory(Conformance):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld(MemoryRegistry("memory:test"))


async def nothing(url: str) -> bytes:
    raise OSError(url)


async def test_it_opens_with_the_trustee_of_local_networks() -> None:
    ledger = open_ledger(LedgerConfig("memory", "local"), nothing)
    nym = await ledger.get_nym(TRUSTEE.did)
    assert nym == FIRST
    assert ledger.status().answers is True
    await ledger.close()


async def test_a_signature_of_a_wrong_length_is_refused() -> None:
    ledger = MemoryRegistry("local")
    prepared = await ledger.prepare(Person.new().nym(), TRUSTEE.did)
    result = await ledger.submit(prepared, {TRUSTEE.did: bytes(63)})
    assert isinstance(result, Failed)
    assert result.why is Why.MALFORMED
