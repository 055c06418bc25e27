"""A bare indy-vdr client that writes NYMs as the trustee, for load and for faults."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import base58
import indy_vdr
from aries_askar import Key, KeyAlg
from indy_vdr import VdrError, VdrErrorCode
from indy_vdr.ledger import build_custom_request

from keep_network.native_pool import NativePool

READS_AT_ONCE = 100  # of thousands at once, some get lost on the way
SEED = b"000000000000000000000000Trustee1"


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another process does, a minute at most."""
    async with asyncio.timeout(60):
        while not await true():  # noqa: ASYNC110 - no event comes out of another process
            await asyncio.sleep(0.2)


class Client:
    """One connection to a pool, and what it has written.

    Attributes:
        written: the DIDs that the pool has said to have taken.
        times: what each of them took, in seconds, in the order in which they ended.
        repeated: how many of them timed out first.
    """

    def __init__(self, pool: NativePool) -> None:
        self._pool = pool
        self.use(SEED)
        self._last_id = 0
        self.written: list[str] = []
        self.times: list[float] = []
        self.repeated = 0

    @classmethod
    async def open(cls, genesis: Path, *, reply_s: int = 30, ack_s: int | None = None) -> Self:
        """Connect.

        Args:
            reply_s: a request fails after so many seconds without an answer.
            ack_s: a read goes to other nodes after so many seconds of silence.
        """
        indy_vdr.set_config({"ack_timeout": ack_s or reply_s, "reply_timeout": reply_s})
        client = cls(NativePool(await asyncio.to_thread(genesis.read_text)))
        try:
            await client._pool.refresh()
        except BaseException:
            client.close()
            raise
        return client

    def use(self, seed: bytes) -> None:
        """Write as the DID of this seed from now on."""
        self._key = Key.from_secret_bytes(KeyAlg.ED25519, seed)
        self._did = base58.b58encode(self._key.get_public_bytes()[:16]).decode()

    async def write(self, *, again: bool = False) -> str:
        """Write a new DID and return it.

        Args:
            again: after a time-out look whether it was written all the same, and repeat it once.
        """
        key = secrets.token_bytes(32)
        did, verkey = base58.b58encode(key[:16]).decode(), base58.b58encode(key).decode()
        operation = {"type": "1", "dest": did, "verkey": verkey}
        number, begun = self._next_id(), time.monotonic()
        try:
            await self._submit(operation, number)
        except VdrError as error:
            if not again or error.code != VdrErrorCode.POOL_TIMEOUT:
                raise
            self.repeated += 1
            if await self.read(did) is None:
                await self._submit(operation, number)  # the nodes know it by its number
        self.times.append(time.monotonic() - begun)
        self.written.append(did)
        return did

    async def write_many(self, count: int, at_once: int, *, again: bool = False) -> None:
        """Write so many, so many of them at a time."""
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                await self.write(again=again)

        await asyncio.gather(*(worker() for _ in range(at_once)))

    async def write_while(
        self, going: Callable[[], bool], at_once: int, *, again: bool = False
    ) -> None:
        """Write as long as that is true, so many at a time."""

        async def worker() -> None:
            while going():
                await self.write(again=again)

        await asyncio.gather(*(worker() for _ in range(at_once)))

    async def read(self, did: str) -> Any:
        """Return the verkey of a DID by a read with a state proof, None if it has none."""
        answer = await self._pool.submit_request(self._request({"type": "105", "dest": did}))
        return json.loads(answer["data"])["verkey"] if answer["data"] else None

    async def missing(self, dids: list[str]) -> list[str]:
        """Return those of these DIDs that the ledger does not have."""
        missing: list[str] = []
        for at in range(0, len(dids), READS_AT_ONCE):
            some = dids[at : at + READS_AT_ONCE]
            found = await asyncio.gather(*map(self.read, some))
            missing += [did for did, verkey in zip(some, found, strict=True) if verkey is None]
        return missing

    async def size(self, node: str) -> int | None:
        """Ask one node how many transactions its ledger has; None if it does not say."""
        request = self._request({"type": "3", "ledgerId": 1, "data": 1})
        told = await self._pool.submit_action(request, [node], 2)
        try:
            return int(json.loads(told[node])["result"]["data"]["ledgerSize"])
        except (KeyError, TypeError, ValueError):
            return None

    async def sizes(self, nodes: int) -> set[int | None]:
        """Ask the first so many nodes how many transactions they have."""
        names = [f"Node{number}" for number in range(1, nodes + 1)]
        return set(await asyncio.gather(*map(self.size, names)))

    async def primary(self) -> int:
        """Return the number of the node that leads, by what most nodes say."""
        request = self._request({"type": "119"})
        request.set_signature(self._key.sign_message(request.signature_input))
        told = await self._pool.submit_action(request, None, 5)
        names: Counter[str] = Counter()
        for node, answer in told.items():
            with suppress(ValueError):
                data = json.loads(answer)["result"]["data"]["Node_info"]
                names[data["Replicas_status"][f"{node}:0"]["Primary"]] += 1
        return int(names.most_common(1)[0][0].removeprefix("Node").partition(":")[0])

    def close(self) -> None:
        """Let go of the connection."""
        self._pool.close()

    async def _submit(self, operation: dict[str, Any], number: int) -> None:
        request = self._request(operation, number)
        request.set_signature(self._key.sign_message(request.signature_input))
        await self._pool.submit_request(request)

    def _next_id(self) -> int:
        self._last_id = max(self._last_id + 1, time.time_ns())
        return self._last_id

    def _request(
        self, operation: dict[str, Any], number: int | None = None
    ) -> indy_vdr.Request:
        told = {
            "identifier": self._did,
            "reqId": number or self._next_id(),
            "protocolVersion": 2,
            "operation": operation,
        }
        return build_custom_request(json.dumps(told))
