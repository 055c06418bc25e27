"""An agent on paper: real keys, DIDs and tables, records in a dict, messages handed over by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from keep_agent.core.machine import (
    START,
    Command,
    Consume,
    Delete,
    Exchange,
    Protocol,
    Put,
    PutKey,
    Step,
    Via,
    exchange_id,
)
from keep_agent.core.message import Attachment, Json, Message, new_id
from keep_agent.errors import UnavailableError
from keep_agent.identity.connections import CONNECTION, INVITATION, Connection, InvitationRecord
from keep_agent.identity.did_documents import DidDocument
from keep_agent.identity.did_resolver import Found, Resolver
from keep_agent.identity.introductions import Introductions
from keep_agent.identity.keys import Keys
from keep_agent.identity.signed_attachments import sign
from keep_agent.protocols import did_exchange, discover_features_2, out_of_band, trust_ping

RECORDED = Path(__file__).with_name("recorded.jsonl")
"""Messages between two Credo 0.6 agents, as they were before sealing."""


class Paper:
    """One agent; `documents` is what its ledger knows, unless it is `silent`."""

    def __init__(self, name: str) -> None:
        self.records: dict[tuple[str, str], tuple[Json, Mapping[str, str | list[str]]]] = {}
        self.exchanges: dict[str, Exchange[Any]] = {}
        self.stored: dict[str, PutKey] = {}
        self.documents: dict[str, DidDocument] = {}
        self.silent = False
        self.keys = Keys(self._key)
        self.port = Introductions(
            self,
            self.keys,
            Resolver(self._document),
            label=name,
            endpoint=f"http://{name}.example/d/main",
            protocols={
                module.PROTOCOL.name: module.PROTOCOL
                for module in (did_exchange, discover_features_2, out_of_band, trust_ping)
            },
        )

    async def _key(self, verkey: str) -> tuple[Any, Json] | None:
        found = self.stored.get(verkey)
        return (found.key, found.metadata) if found else None

    async def _document(self, did: str) -> Found | None:
        if self.silent:
            raise UnavailableError("no node answers")
        document = self.documents.get(did)
        bare = did.rpartition(":")[2]
        return Found(document, f"did:indy:paper:{bare}") if document else None

    async def fetch(self, category: str, name: str) -> Json | None:
        found = self.records.get((category, name))
        return found[0] if found else None

    async def exchange(self, name: str) -> Exchange[Any] | None:
        return self.exchanges.get(name)

    async def find(
        self, category: str, tags: dict[str, str] | None = None, limit: int | None = None
    ) -> list[tuple[str, Json]]:
        return [
            (name, value)
            for (kind, name), (value, has) in self.records.items()
            if kind == category and (tags or {}).items() <= has.items()
        ][:limit]

    # -- running a table by hand -----------------------------------------------------------------

    def new(
        self, protocol: Protocol[Any], role: str, peer: str, thid: str | None = None
    ) -> Exchange[Any]:
        thid = thid or new_id()
        return Exchange(
            id=exchange_id(protocol.name, role, thid, peer),
            protocol=protocol.name,
            minor=protocol.minor,
            role=role,
            thid=thid,
            peer=peer,
            data=protocol.data(),
            state=START,
            created=1.0,
        )

    async def run(
        self,
        protocol: Protocol[Any],
        x: Exchange[Any],
        event: Message | Command,
        via: Via | None = None,
    ) -> tuple[Exchange[Any], Step[Any]]:
        """Decide an event and keep what it writes."""
        after, step = await protocol.step(replace(x, via=via or Via()), event, self.port)
        for write in step.writes:
            self.write(write)
        return after, step

    def write(self, write: Put | Delete | PutKey | Consume) -> None:
        match write:
            case Put(category=category, name=name, value=value, tags=tags):
                self.records[category, name] = (json.loads(json.dumps(value)), tags)
            case PutKey(verkey=verkey):
                self.stored[verkey] = write
            case Consume(category=category, name=name):
                value, tags = self.records[category, name]
                self.records[category, name] = ({**value, "used": True}, tags)
            case Delete(category=category, name=name):
                del self.records[category, name]

    # -- what it remembers -----------------------------------------------------------------------

    def connection(self, name: str) -> Connection:
        return Connection.model_validate(self.records[CONNECTION, name][0])

    def invitation(self, name: str) -> InvitationRecord:
        return InvitationRecord.model_validate(self.records[INVITATION, name][0])

    def via(self, sender: str, invitation: str) -> Via:
        """Return how an answer to an invitation of ours comes in."""
        key = self.invitation(invitation).key
        return Via(sender=sender, recipient=key, invitation=invitation)

    async def sign(self, verkey: str, content: bytes) -> Attachment:
        """Sign anything: what peers may do, and our own code never does."""
        key = await self.keys.load(verkey)
        assert key is not None
        return sign(key, content)

    async def invite(self, **wish: Any) -> Json:
        """Return a new invitation."""
        x = self.new(out_of_band.PROTOCOL, out_of_band.Side.SENDER, "nobody")
        after, _ = await self.run(out_of_band.PROTOCOL, x, out_of_band.CreateInvitation(**wish))
        message: Json = after.data.message
        return message

    async def take(self, invitation: Json) -> Exchange[Any]:
        """Return the exchange of an invitation that was looked at."""
        x = self.new(out_of_band.PROTOCOL, out_of_band.Side.RECEIVER, "nobody")
        command = out_of_band.ReceiveInvitation(invitation=invitation)
        after, _ = await self.run(out_of_band.PROTOCOL, x, command)
        return after


def recorded(flow: str, name: str) -> Iterator[Json]:
    """Yield the recorded messages of a peer: those of a flow, by the last part of their type."""
    for line in RECORDED.read_text().splitlines():
        row = json.loads(line)
        if row["flow"].startswith(flow) and row["message"]["@type"].endswith(f"/{name}"):
            yield row["message"]
