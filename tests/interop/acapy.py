"""A running ACA-Py and its admin API."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import aiohttp

import peers
from keep_agent.core.message import Json
from keep_ledger.local_network import IndyNetwork
from processes import Child, ready, running, tail

READY_S = 60.0
PATIENCE_S = 60.0
CALL_S = 180.0  # it makes the keys of a credential definition within a call
LOOK_S = 0.1
ENDED = frozenset({"abandoned", "deleted"})

AUTOMATIC = (
    *("accept-invites", "accept-requests", "ping-connection", "store-credential"),
    *("respond-credential-request", "verify-presentation"),
)
"""What it does by itself: all but what its user decides, to accept an offer and to show something."""


Wallet = Literal["askar-anoncreds", "askar"]


class AcapyError(Exception):
    """It refused a call, or an exchange of its ended otherwise; with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Acapy:
    """A running ACA-Py with an endorser's public DID.

    Attributes:
        wallet: `askar-anoncreds`, or `askar`, its older and still its default one.
        did: its public DID, without prefix, as it writes it itself.
        endpoint: where other agents reach it.
        genesis: of its network.
    """

    child: Child
    url: str
    endpoint: str
    wallet: Wallet
    did: str
    genesis: Path
    session: aiohttp.ClientSession

    async def get(self, path: str, **query: str) -> Json:
        """Call its admin API."""
        return await self._call("GET", path, None, query)

    async def post(self, path: str, body: Json | None = None, **query: str) -> Json:
        """Call its admin API."""
        return await self._call("POST", path, body or {}, query)

    async def until(self, path: str, *states: str) -> Json:
        """Return a record once it is in one of these states.

        Raises:
            AcapyError: it ended in another one, or is in none of them after 60 s.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            found = await self.get(path)
            record = cast("Json", found.get("cred_ex_record") or found)
            state = record.get("rfc23_state") or record["state"]
            if state in states:
                return record
            if state in ENDED or time.monotonic() > end:
                why = record.get("error_msg")
                raise AcapyError(f"{path} is {state}: {why}; {tail(self.child.log, 20)}")
            await asyncio.sleep(LOOK_S)

    async def find(self, path: str, **query: str) -> Json:
        """Return the only record of a list, once there is one.

        Raises:
            AcapyError: there is none after 60 s.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            rows = cast("Sequence[Json]", (await self.get(path, **query))["results"])
            if rows:
                (row,) = rows
                return cast("Json", row.get("cred_ex_record") or row)
            if time.monotonic() > end:
                raise AcapyError(f"nothing at {path} {query}; {tail(self.child.log, 20)}")
            await asyncio.sleep(LOOK_S)

    async def _call(self, method: str, path: str, body: Any, query: dict[str, str]) -> Json:
        async with self.session.request(
            method, self.url + path, json=body, params=query
        ) as answer:
            text = await answer.text()
        if not answer.ok:
            log = tail(self.child.log, 12)
            raise AcapyError(f"{method} {path}: {answer.status} {text or answer.reason}; {log}")
        found = json.loads(text)
        return cast("Json", found if isinstance(found, dict) else {"results": found})


@asynccontextmanager
async def acapy(
    wallet: Wallet, folder: Path, network: IndyNetwork, ports: Sequence[int]
) -> AsyncGenerator[Acapy]:
    """Run ACA-Py until the block ends.

    Args:
        wallet: the kind of its wallet.
        folder: new; of its store and log.
        network: where its public DID is registered.
        ports: one for other agents, one for its admin API.
    """
    await asyncio.to_thread(folder.mkdir)
    endpoint, admin = (f"http://127.0.0.1:{port}" for port in ports)
    settings = {
        "label": "ACA-Py",
        "endpoint": endpoint,
        "admin-insecure-mode": True,
        "inbound-transport": [["http", "127.0.0.1", str(ports[0])]],
        "outbound-transport": ["http"],
        "admin": ["127.0.0.1", str(ports[1])],
        "genesis-file": str(network.genesis),
        "ledger-pool-name": folder.name,
        "wallet-type": wallet,
        "wallet-name": "peer",
        "wallet-key": secrets.token_hex(16),
        "auto-provision": True,
        "public-invites": True,
        "requests-through-public-did": True,
        "preserve-exchange-records": True,
        "log-level": "info",
        **{f"auto-{name}": True for name in AUTOMATIC},
    }
    settings_file = folder / "settings.yml"
    settings_file.write_text(json.dumps(settings), encoding="utf-8")
    program = peers.ACAPY.path / "bin" / "aca-py"
    env = {"HOME": str(folder), "PYTHONPATH": None, "PYTHONWARNINGS": None}
    users = dict.fromkeys(name for name in os.environ if name.startswith("ACAPY_"))
    command = (program, "start", "--arg-file", settings_file)
    async with (
        running("ACA-Py", command, log=folder / "log", env={**users, **env}) as child,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_S)) as session,
    ):
        await ready(child, f"{admin}/status/ready", within_s=READY_S)
        agent = Acapy(child, admin, endpoint, wallet, "", network.genesis, session)
        made = (await agent.post("/wallet/did/create", {"method": "sov"}))["result"]
        await network.register(made["did"], made["verkey"], "ENDORSER")
        await agent.post("/wallet/did/public", did=made["did"])
        yield Acapy(child, admin, endpoint, wallet, made["did"], network.genesis, session)
