"""One tenant, put together: its profile, keys, policies, dispatcher, outbox, and what runs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keep_agent.core.catalog import PortFactory
from keep_agent.core.dispatch import Context, Dispatcher
from keep_agent.core.features import OurFeatures
from keep_agent.core.loop_monitor import LoopMonitor
from keep_agent.core.machine import Peer, Protocol, ReportProblem
from keep_agent.core.message import Json, Message, Received
from keep_agent.core.policy import POLICY, Policies
from keep_agent.core.scheduler import Scheduler
from keep_agent.credentials.cred_def_keys import make_keys, store_keys
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.presentations import Prover
from keep_agent.credentials.wallet import Wallet, make_link_secret
from keep_agent.didcomm.attempt import Carrier
from keep_agent.didcomm.envelope import ForwardedElsewhereError, unpack
from keep_agent.didcomm.outbox import Outbox
from keep_agent.didcomm.slots import Slots
from keep_agent.errors import BadMessageError, LocalError, UnavailableError
from keep_agent.identity.connections import CONNECTION
from keep_agent.identity.did_documents import read_document
from keep_agent.identity.did_resolver import Found, Resolver
from keep_agent.identity.dids import Did
from keep_agent.identity.identify import identify
from keep_agent.identity.introductions import Introductions, bind
from keep_agent.identity.keys import Keys, did_key
from keep_agent.registry.commands import RegistryCommands
from keep_agent.registry.jobs import Jobs
from keep_agent.registry.public_dids import PublicDids
from keep_agent.store.cache import Row
from keep_agent.store.profile import Profile, TakenOver
from keep_agent.store.rows import Commit
from keep_ledger.errors import LedgerError, LedgerUnavailableError
from keep_ledger.identifiers import Did as LedgerDid
from keep_ledger.plugins import Ledgers
from keep_zkp.native import Native, Scope

log = logging.getLogger(__name__)

MAIN = "main"
"""The tenant that every agent has."""

PARSED_OBJECTS = 128
AIP = ("AIP2.0/INDYCRED",)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the tenants of one agent share.

    Attributes:
        protocols: by `family/major`.
        ports: what packages of others bring for their protocols.
        endpoint: where peers reach the agent, without `/d/{tenant}`.
        loop_monitor: the watch over the event loop, where the settings ask for one.
    """

    protocols: Mapping[str, Protocol[Any]]
    ports: Mapping[str, PortFactory]
    ledgers: Ledgers
    native: Native
    carrier: Carrier
    endpoint: str
    label: str
    seen_days: int
    loop_monitor: LoopMonitor | None = None
    slots: Slots = field(default_factory=Slots)


class Tenant:
    """One tenant at work; make it with `open`."""

    def __init__(self, profile: Profile, around: Surroundings, name: str) -> None:
        self.name = name
        self.profile = profile
        self.around = around
        self.endpoint = f"{around.endpoint}/d/{name}"
        self.keys = Keys(profile.key)
        self.scope = Scope(around.native, keep=PARSED_OBJECTS)
        self.policies = Policies(around.protocols)
        self.resolver = Resolver(self._ask_ledger)
        self.objects = LedgerObjects(around.ledgers)
        self.wallet = Wallet(profile, self.scope, self.objects)
        self.prover = Prover(profile, self.scope, self.objects)
        self.jobs = Jobs(profile, self.keys, around.ledgers)
        make = partial(make_keys, self.scope, self.objects)
        self.commands = RegistryCommands(
            profile, around.ledgers, self.jobs, self.policies, make, store_keys
        )
        self.public_dids = PublicDids(profile, around.ledgers, self.endpoint)
        self.dropped = 0
        context = Context(
            profile=profile,
            protocols=around.protocols,
            ports=self._ports(),
            identify=self._identify,
            bind=bind,
            auto=self.policies.commands,
            has_room=lambda: around.native.has_room,
        )
        self.dispatcher = Dispatcher(context)
        self.outbox = Outbox(profile, self.keys, around.carrier, self.receive, around.slots)
        self.outbox.on_too_long = self._too_long
        self.scheduler = Scheduler(self.dispatcher)
        self.dispatcher.on_change = self.scheduler.follow
        self.dispatcher.on_message = self.outbox.note_received
        self.dispatcher.on_delivery = self.scheduler.deliver
        profile.on_commit = self._committed
        profile.on_others = self._others_committed
        profile.on_taken_over = self._take_up
        profile.on_start_over = self._drop

    @classmethod
    async def open(cls, profile: Profile, around: Surroundings, name: str = MAIN) -> Tenant:
        """Put a tenant together out of its profile; `run` makes it work.

        Args:
            name: stands in the path of its endpoint.
        """
        tenant = cls(profile, around, name)
        await tenant.policies.load(profile)
        await make_link_secret(profile, tenant.scope)
        return tenant

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.profile.run(), name=f"{self.name} deliveries")
            tasks.create_task(self.outbox.run(), name=f"{self.name} outbox")
            tasks.create_task(self.scheduler.run(), name=f"{self.name} scheduler")
            tasks.create_task(self.jobs.run(), name=f"{self.name} jobs")
            if self.profile.shared:
                tasks.create_task(self.policies.run(self.profile), name=f"{self.name} policies")

    @property
    def busy(self) -> bool:
        """Whether something is under way: messages to send, commands, early messages, jobs."""
        return bool(self.outbox.waiting or self.scheduler.busy or self.jobs.busy)

    async def receive(self, packed: bytes) -> None:
        """Take one packed message; when this returns, its outcome is committed.

        Raises:
            BadEnvelopeError: it is no envelope for us.
            PeerError, UnavailableError: see `Dispatcher.receive`.
        """
        try:
            received = await unpack(packed, self.keys.load)
        except ForwardedElsewhereError:
            self.dropped += 1  # a forward to somebody else: we are no mediator, and say nothing
            return
        with suppress(BadMessageError):  # said when it is handled
            self.outbox.note_size(Message.thread_of(received.body), len(packed))
        await self.dispatcher.receive(received)

    def _ports(self) -> Mapping[str, object]:
        """Return what protocols ask of others, by the name in `Protocol.port`."""
        introductions = Introductions(
            self.profile,
            self.keys,
            self.resolver,
            label=self.around.label,
            endpoint=self.endpoint,
            protocols=self.around.protocols,
        )
        return {
            "out_of_band": introductions,
            "did_exchange": introductions,
            "features": OurFeatures(self.around.protocols.values()),
            "credentials": self.wallet,
            "proofs": self.prover,
            **{name: make(self) for name, make in self.around.ports.items()},
        }

    async def _identify(self, received: Received) -> Peer:
        return await identify(received, self._metadata, self.profile)

    async def _metadata(self, verkey: str) -> Json | None:
        key = await self.keys.load(verkey)
        return key.metadata if key else None

    def _committed(self, commit: Commit) -> None:
        for x in commit.exchanges:
            if CONNECTION in x.records:
                self.outbox.note_changed(x.id)
        self.outbox.take(row for row in commit.outbox if not row.held)

    def _others_committed(self, rows: Sequence[Row]) -> None:
        """Wake who waits for what another process has changed now."""
        for category, name in rows:
            if category == "exchange":
                self.dispatcher.wake(name)
            elif category == CONNECTION:
                self.outbox.note_changed(name)
        if any(category == POLICY for category, _ in rows):
            self.policies.reload()
        self.scheduler.try_early()

    def _take_up(self, left: TakenOver) -> None:
        """Go on with what a process that is gone left to be done."""
        self.outbox.take(left.outgoing, new=False)
        for waiting in left.waiting:
            self.scheduler.deliver(waiting)
        for x in left.pending:
            self.scheduler.follow(x)
        self.jobs.take_up()
        self.scheduler.look_again()

    def _drop(self) -> None:
        """Leave to another process what it has taken over."""
        self.outbox.drop()
        self.jobs.drop()

    async def _too_long(self, exchange: str, reason: str) -> None:
        """End the exchange of a message that is too long for its peer, and tell the peer."""
        try:
            report = ReportProblem(code="message-too-long", comment=reason)
            await self.dispatcher.command(exchange, report)
        except LocalError as error:
            log.info("not ended", extra={"id": exchange, "reason": str(error)})

    async def _ask_ledger(self, did: str) -> Found | None:
        """Make the document of a DID on a ledger out of what its ledger proves."""
        try:
            located = await self.around.ledgers.locate(did)
        except LedgerUnavailableError as error:
            raise UnavailableError(str(error)) from error
        except LedgerError:
            return None
        if located is None:
            return None
        namespace, found = located
        service: Json = {
            "id": "#didcomm",
            "type": "did-communication",
            "serviceEndpoint": found.endpoint,
            "recipientKeys": [did_key(found.verkey)],
            "routingKeys": [did_key(key) for key in found.routing_keys],
        }
        document = read_document(
            {"id": did, "service": [service] if found.endpoint else []}, Did(did)
        )
        return Found(document, str(LedgerDid.parse(did).at(namespace)))
