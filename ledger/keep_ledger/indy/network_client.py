"""A client of one network, for several people: reads with proofs, and writes with many signatures.

Everything that it returns has a proof, or more than f nodes agree on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import indy_vdr
from indy_vdr import VdrError
from indy_vdr.ledger import build_custom_request
from pydantic import BaseModel, ConfigDict, ValidationError

from keep_ledger import codes
from keep_ledger.errors import (
    BadIdError,
    BadWriteError,
    LedgerUnavailableError,
    NotWrittenError,
)
from keep_ledger.identifiers import Did, full_verkey
from keep_ledger.indy import (
    author_agreement,
    current_objects,
    genesis,
    merkle,
    node_refusals,
    replies,
    requests,
)
from keep_ledger.indy.current_objects import Found
from keep_ledger.indy.ledger_history import History, LedgerReader, Progress, quiet
from keep_ledger.indy.pool import Pool, RequestRefusedError
from keep_ledger.indy.replies import UntrustedReplyError
from keep_ledger.interface import Taa
from keep_ledger.json_object import Json
from keep_ledger.plugins import Fetch

_LOOKS = 6
_LOOK_S = 1.5
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class NymState:
    """A DID as the ledger has it, or had it.

    Attributes:
        did: bare id.
        verkey: base58 of 32 bytes, never abbreviated; None when the ledger has none.
        role: the code in a NYM transaction ("0" TRUSTEE, "101" ENDORSER, ...); None has no role.
        seq_no: the last transaction on it, in the domain ledger.
    """

    did: str
    verkey: str | None
    role: str | None
    seq_no: int


class _Nym(BaseModel):
    model_config = ConfigDict(strict=True)
    dest: str
    verkey: str | None
    role: str | None
    seqNo: int  # noqa: N815 - as the ledger spells it


class NetworkClient:
    """One network, opened with its genesis; it is contacted by the first question.

    Attributes:
        network: SHA-256 of the genesis (`Genesis.digest`), 32 bytes.
        pool: the connection to the validators.
    """

    def __init__(self, source: str, fetch: Fetch, cache: Path | None = None) -> None:
        """Prepare a client; `async with` opens it.

        Args:
            source: file or http(s) URL of the genesis.
            fetch: downloads the URL.
            cache: folder for ledgers that were read; it gets a folder for each network.
        """
        self._source = source
        self._fetch = fetch
        self._cache = cache
        self.network = b""
        self.pool: Pool
        self._readers: dict[int, LedgerReader] = {}

    async def __aenter__(self) -> Self:
        """Read the genesis.

        Raises:
            GenesisError: it cannot be read, or is not a genesis.
        """
        found = await genesis.load(self._source, self._fetch, None)

        async def get() -> genesis.Genesis:
            await asyncio.sleep(0)
            return found

        self.network = bytes.fromhex(found.digest)
        folder = self._cache and self._cache / found.digest[:32]
        self.pool = Pool(found.digest[:8], get, folder)
        for number, name in codes.LEDGER_NAMES.items():
            file = folder and folder / f"{name}.jsonl"
            self._readers[number] = LedgerReader(self.pool, number, file)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.pool.close()

    # -- reading ---------------------------------------------------------------------------------

    async def nym(self, did: str) -> NymState | None:
        """A DID as it is now; None if it is not on the ledger.

        Raises:
            BadIdError: it is not a DID.
            LedgerUnavailableError: there is no answer that can be trusted.
        """
        asked = Did.parse(did)
        return _nym(asked, await self.pool.ask(requests.get_nym(asked), codes.DOMAIN))

    async def nym_at(self, did: str, seq_no: int) -> NymState | None:
        """A DID as it was after a transaction of the domain ledger; f + 1 nodes agree on it.

        Nodes find old states by the second; where more was written in that second, the whole
        ledger is read.
        """
        asked = Did.parse(did)
        operation = requests.get_nym(asked) | {"seqNo": seq_no}
        question, texts = await self.pool.each(operation)
        nodes = len(await self.pool.nodes())
        found = _nym(asked, replies.agreed(question, texts.values(), nodes))
        if found is None or found.seq_no <= seq_no:
            return found
        domain = (await self.history(codes.DOMAIN)).transactions[:seq_no]
        last = current_objects.nym(asked.id, domain)
        return last and NymState(asked.id, *last)

    async def txn(self, ledger_id: int, seq_no: int) -> Json | None:
        """One transaction on which f + 1 nodes agree; None if the ledger is shorter."""
        question, texts = await self.pool.each(requests.get_txn(seq_no, ledger_id))
        bare = [text for one in texts.values() if (text := _bare(one))]
        reply = replies.agreed(question, bare, len(await self.pool.nodes()))
        data: Any = reply.get("data")
        if data is None:
            return None
        if merkle.number_of(data) != seq_no:
            raise UntrustedReplyError("the nodes returned another transaction than asked")
        found: Json = data
        return found

    async def history(self, ledger_id: int, progress: Progress = quiet) -> History:
        """All transactions of a ledger, proved to be complete and unchanged.

        They are cached, so that the next call reads only new ones.

        Raises:
            LedgerUnavailableError: there was no such proof in time; what was read is cached.
        """
        return await self._readers[ledger_id].read(progress)

    async def role_holders(self, progress: Progress = quiet) -> dict[str, list[str]]:
        """The DIDs that have a role now, by the code of the role, in the order of registration."""
        domain = await self.history(codes.DOMAIN, progress)
        return current_objects.role_holders(domain.transactions)

    async def taa(self) -> Taa | None:
        """The author agreement in force."""
        return await author_agreement.in_force(self.pool)

    async def current_object(self, request: Json) -> Found | None:
        """The object that a request would change, as it is now; None if it would be new.

        Raises:
            BadWriteError: nothing is read here for such requests (for rules see `auth_rules.read_rules`).
        """
        if request["operation"].get("type") == codes.NODE:
            pool = await self.history(codes.POOL)
            return current_objects.node(request["operation"], pool.transactions)
        return await current_objects.find(self.pool, request)

    # -- writing ---------------------------------------------------------------------------------

    async def submit(self, request: Json, signatures: Mapping[str, bytes] | bytes) -> int:
        """Send a signed request and return its sequence number.

        When this returns, every node that answers in time has it, so that it can be read. A request
        that is on the ledger already is not sent again. Sending the same bytes twice is harmless:
        the ledger answers with what it wrote the first time.

        Args:
            request: without signatures.
            signatures: by DID; or a single one, of the author (or of the author's group).

        Raises:
            BadWriteError: it is not a request, or a signature does not have 64 bytes.
            NotWrittenError: the ledger refused it; the text says why.
            LedgerUnavailableError: there was no answer in time; it may still be written: submit it again.
        """
        wire = _signed(request, signatures)
        digest = hashlib.sha256(wire.signature_input).hexdigest()
        number = await self._find_transaction(request, digest)
        if number is None:
            number = await self._send(wire, request, digest)
            await self.pool.spread(current_objects.ledger_of(request), number)
        return number

    async def find_transaction(self, request: Json) -> int | None:
        """The number of the transaction that a request became; None if it is not found.

        In the config and pool ledgers it is always found. In the domain ledger it is found if the
        object was not changed again since, or if `history` was read.
        """
        return await self._find_transaction(request, payload_digest(request))

    async def _find_transaction(self, request: Json, digest: str) -> int | None:
        ledger_id = current_objects.ledger_of(request)
        if ledger_id != codes.DOMAIN:
            return await self._in_history(ledger_id, digest)
        known = request["operation"].get("type") in current_objects.READ
        there = await current_objects.find(self.pool, request) if known else None
        if there is not None and there.seq_no is not None:
            found = await self.txn(codes.DOMAIN, there.seq_no)
            if found is not None and current_objects.digest_of(found) == digest:
                return there.seq_no
        if self._readers[ledger_id].has_read:
            return await self._in_history(ledger_id, digest)
        return None

    async def _in_history(self, ledger_id: int, digest: str) -> int | None:
        written = (await self.history(ledger_id)).transactions
        numbers = (
            n for n, txn in enumerate(written, 1) if current_objects.digest_of(txn) == digest
        )
        return next(numbers, None)

    async def _send(self, wire: indy_vdr.Request, request: Json, digest: str) -> int:
        try:
            reply = await self.pool.write(wire)
        except RequestRefusedError as error:
            if node_refusals.already_written(str(error)):
                there = await self._in_history(current_objects.ledger_of(request), digest)
                if there is not None:
                    return there
            raise NotWrittenError(node_refusals.sentence(str(error))) from error
        except LedgerUnavailableError as error:
            there = await self._look(request, digest)
            if there is not None:
                return there
            raise LedgerUnavailableError(
                "the ledger gave no answer in time. The request may still be written: submit the same"
                f" again later, which cannot write it twice ({error})"
            ) from error
        number = replies.written_at(reply)
        if number is None:
            raise UntrustedReplyError(
                "the nodes accepted the request, but do not say where it is"
            )
        return number

    async def _look(self, request: Json, digest: str) -> int | None:
        """Wait for a request that got no answer to be written; None if it is not."""
        end = time.monotonic() + _LOOKS * _LOOK_S
        while time.monotonic() < end:
            try:
                there = await self._find_transaction(request, digest)
            except LedgerUnavailableError:
                there = None
            if there is not None:
                return there
            await asyncio.sleep(_LOOK_S)
        return None


def payload_digest(request: Json) -> str:
    """Hex SHA-256 of the signing input: the ledger's `payloadDigest`.

    Raises:
        BadWriteError: it is not a request.
    """
    return hashlib.sha256(_built(request).signature_input).hexdigest()


def _built(request: Json) -> indy_vdr.Request:
    bare = {k: v for k, v in request.items() if k not in ("signature", "signatures")}
    try:
        return build_custom_request(json.dumps(bare))
    except VdrError as error:
        raise BadWriteError(f"this is not a request: {error}") from error


def _signed(request: Json, signatures: Mapping[str, bytes] | bytes) -> indy_vdr.Request:
    wire = _built(request)
    all_of_them = [signatures] if isinstance(signatures, bytes) else list(signatures.values())
    if not all_of_them or any(len(one) != _SIGNATURE_BYTES for one in all_of_them):
        raise BadWriteError("a request needs signatures of 64 bytes each")
    if isinstance(signatures, bytes):
        wire.set_signature(signatures)
    else:
        for did, signature in signatures.items():
            wire.set_multi_signature(did, signature)
    return wire


def _nym(asked: Did, reply: Json) -> NymState | None:
    if reply.get("data") is None:
        return None
    try:
        data = _Nym.model_validate_json(reply["data"])
        key = None if data.verkey is None else full_verkey(data.verkey, asked.id)
    except (ValidationError, BadIdError) as error:
        raise UntrustedReplyError(f"not a NYM: {error}") from error
    if data.dest != asked.id:
        raise UntrustedReplyError("the nodes answered for another DID")
    return NymState(asked.id, key, data.role, data.seqNo)


def _bare(text: str) -> str | None:
    """A reply to GET_TXN without its Merkle proof, in which nodes may differ."""
    try:
        body = json.loads(text)
        data = body["result"]["data"]
        body["result"]["data"] = data and merkle.stored(data)
        return json.dumps(body)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
