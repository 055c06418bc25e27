"""The same suite against a real network, and what only a real one can show."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from indy_vdr.ledger import build_custom_request
from pool import Network

from keep_ledger.codes import Role
from keep_ledger.errors import LedgerUnavailableError
from keep_ledger.indy import IndyRegistry, open_ledger
from keep_ledger.indy import pool as connection
from keep_ledger.indy.requests import get_taa, request
from keep_ledger.interface import Failed, NeedsSignatures, Why
from keep_ledger.json_object import Json
from keep_ledger.plugins import LedgerConfig
from keep_ledger.testing.conformance import (
    TRUSTEE,
    Conformance,
    Person,
    cred_def_of,
    registered,
    schema_of,
    sign,
    written,
)

pytestmark = pytest.mark.pool


async def nothing(url: str) -> bytes:
    raise OSError(url)


@dataclass(frozen=True)
class IndyWorld:
    registry: IndyRegistry

    async def agree_on(self, text: str | None) -> None:
        now = int(time.time())
        if text is None:
            await self._as_trustee({"type": "8"})
        else:
            aml = {"on_file": "on file"}
            await self._as_trustee({"type": "5", "aml": aml, "version": str(time.time_ns())})
            version = str(time.time_ns())
            body = {"type": "4", "text": text, "version": version, "ratification_ts": now - 5}
            await self._as_trustee(body)
        async with asyncio.timeout(20):
            while await self._texts() != [text] * 4:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.05)

    async def _texts(self) -> list[str | None]:
        """The agreement that each node has."""
        _, told = await self.registry._pool.each(get_taa())
        data: list[Json | None] = [
            json.loads(one)["result"]["data"] for one in told.values() if one != "timeout"
        ]
        return [one["text"] if one else None for one in data]

    async def _as_trustee(self, operation: dict[str, Any]) -> None:
        message = build_custom_request(json.dumps(request(operation, TRUSTEE.did)))
        message.set_signature(TRUSTEE.sign(message.signature_input))
        await self.registry._pool.write(message)


@pytest.fixture(scope="module")
async def real(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[IndyWorld]:
    cache = tmp_path_factory.mktemp("ledger")
    config = LedgerConfig("indy", "local", str(network.genesis), cache)
    registry = open_ledger(config, nothing)
    yield IndyWorld(registry)
    await registry.close()


class TestIndy(Conformance):
    @pytest.fixture
    def world(self, real: IndyWorld) -> IndyWorld:
        return real


async def test_a_signature_that_does_not_verify_is_refused(real: IndyWorld) -> None:
    ledger, person = real.registry, Person.new()
    prepared = await ledger.prepare(person.nym(), TRUSTEE.did)
    forged = {TRUSTEE.did: person.sign(prepared.signing_input)}
    result = await ledger.submit(prepared, forged)
    assert isinstance(result, Failed)
    assert result.why is Why.MALFORMED
    assert await ledger.get_nym(person.did) is None


async def test_two_endorsers_signatures_without_the_field_are_told_so(real: IndyWorld) -> None:
    ledger = real.registry
    author, endorser = await registered(ledger, None), await registered(ledger, Role.ENDORSER)
    prepared = await ledger.prepare(schema_of(author), author.did)
    result = await ledger.submit(prepared, sign(prepared, author, endorser))
    assert isinstance(result, NeedsSignatures)
    assert "ENDORSER" in result.reason


async def test_what_was_read_once_is_there_without_the_network(
    real: IndyWorld, network: Network, tmp_path: Path
) -> None:
    ledger = real.registry
    issuer = await registered(ledger, Role.ENDORSER)
    schema = schema_of(issuer)
    await written(ledger, schema, issuer)
    done = await written(ledger, cred_def_of(issuer, schema), issuer)
    config = LedgerConfig("indy", "local", str(network.genesis), tmp_path)
    first = open_ledger(config, nothing)
    before = (await first.get_schema(schema.id), await first.get_cred_def(done.id))
    await first.close()
    again = open_ledger(config, nothing)
    after = (await again.get_schema(schema.id), await again.get_cred_def(done.id))
    assert after == before
    assert None not in after
    assert again.status().answers is None
    await again.close()


async def test_a_ledger_that_is_down_says_so_in_time(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.loads(line) for line in network.genesis.read_text().splitlines()]
    for line in lines:
        line["txn"]["data"]["data"]["client_port"] = 9
    genesis = tmp_path / "genesis"
    genesis.write_text("\n".join(json.dumps(line) for line in lines))
    monkeypatch.setattr(connection, "_REFRESH_S", 0.3)
    monkeypatch.setitem(connection._SETTINGS, "ack_timeout", 1)
    ledger = open_ledger(LedgerConfig("indy", "local", str(genesis)), nothing)
    async with asyncio.timeout(5):
        with pytest.raises(LedgerUnavailableError, match="no validator answers"):
            await ledger.get_nym(TRUSTEE.did)
        status = await ledger.refresh()
    assert status.answers is False
    assert status.last_error == "no validator answers within 0.3 s"
    await ledger.close()


async def test_newer_validators_are_kept_for_the_next_start(
    real: IndyWorld, network: Network, tmp_path: Path
) -> None:
    config = LedgerConfig("indy", "local", str(network.genesis), tmp_path)
    first = open_ledger(config, nothing)
    assert (await first.refresh()).nodes == 4
    await first.close()
    kept = tmp_path / "local" / "pool.jsonl"
    assert len(kept.read_text().splitlines()) == 4
    kept.write_text(kept.read_text().replace("Node1", "Node9"))
    again = open_ledger(config, nothing)
    nym = await again.get_nym(TRUSTEE.did)
    await again.close()
    assert nym is not None
    assert "Node9" not in kept.read_text()
