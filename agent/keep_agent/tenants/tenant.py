"""One tenant: its profile, keys, policies, dispatcher, outbox, scheduler and jobs."""

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
from keep_agent.credentials.cred_def_keys import make_keys, schema_for, store_keys
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.presentations import Prover
from keep_agent.credentials.verification import Verification
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
from keep_agent.identity.keys import Keys
from keep_agent.identity.return_address import return_address
from keep_agent.registry.commands import RegistryCommands
from keep_agent.registry.jobs import Jobs
from keep_agent.registry.public_dids import PublicDids
from keep_agent.store.cache import Row
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit, TakenOver
from keep_ledger.errors import LedgerError, LedgerUnavailableError
from keep_ledger.identifiers import Did as LedgerDid
from keep_ledger.plugins import Ledgers
from keep_zkp.native import Native, Scope
from keep_zkp.voices import Voices

log = logging.getLogger(__name__)

MAIN = "main"
"""The tenant that every agent has."""

PARSED_OBJECTS = 128


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the tenants of one agent share.

    Attributes:
        protocols: by `family/major`.
        ports: the ports of protocols from other packages, by the name in `Protocol.port`.
        voices: who has to accept a proof.
        endpoint: URL at which peers reach the agent, without `/d/{tenant}`.
        label: the name that peers are told.
        seen_days: how long message ids, dead letters and the log are kept (see `sweep`).
        loop_monitor: measures how long the event loop is blocked; None: the settings do not ask for it.
        slots: limits the attempts to deliver messages of all tenants.
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
    voices: Voices = field(default_factory=Voices)


class Tenant:
    """One open tenant; made by `open`."""

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
        self.verification = Verification(profile, around.voices)
        self.prover = Prover(profile, self.scope, self.objects, self.verification)
        self.jobs = Jobs(profile, self.keys, around.ledgers)
        self.commands = RegistryCommands(
            profile,
            around.ledgers,
            self.jobs,
            self.policies,
            partial(schema_for, self.objects),
            partial(make_keys, self.scope, self.objects),
            store_keys,
        )
        self.public_dids = PublicDids(profile, around.ledgers, self.endpoint)
        self.dropped = 0
        self.introductions = Introductions(
            profile,
            self.keys,
            self.resolver,
            label=around.label,
            endpoint=self.endpoint,
            protocols=around.protocols,
        )
        context = Context(
            profile=profile,
            protocols=around.protocols,
            ports=self._ports(),
            identify=self._identify,
            bind=partial(bind, decorator=self.introductions.decorator),
            return_address=partial(return_address, addresses=self.introductions),
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
        profile.on_others_commit = self._others_committed
        profile.on_taken_over = self._take_up
        profile.on_start_over = self._drop

    @classmethod
    async def open(cls, profile: Profile, around: Surroundings, name: str = MAIN) -> Tenant:
        """Make a tenant from its profile; `run` makes it work.

        Args:
            name: its id, which is part of the path of its endpoint.

        Raises:
            UnavailableError: the store does not answer.
        """
        tenant = cls(profile, around, name)
        await tenant.policies.load(profile)
        await make_link_secret(profile, tenant.scope)
        await tenant.verification.load()
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
        """Whether there is work to do: messages to send, commands, early messages, jobs."""
        return bool(self.outbox.waiting or self.scheduler.busy or self.jobs.busy)

    async def receive(self, packed: bytes) -> None:
        """Handle one encrypted message; when this returns, its outcome is committed.

        Raises:
            BadEnvelopeError: it is not an envelope for a key of this tenant.
            PeerError, UnavailableError: see `Dispatcher.receive`.
        """
        try:
            received = await unpack(packed, self.keys.load)
        except ForwardedElsewhereError:
            self.dropped += 1  # we are not a mediator; a forward gets no answer
            return
        with suppress(BadMessageError):  # refused when it is handled
            self.outbox.note_size(Message.thread_of(received.body), len(packed))
        await self.dispatcher.receive(received)

    def _ports(self) -> Mapping[str, object]:
        """Return the ports of the protocols, by the name in `Protocol.port`."""
        return {
            "out_of_band": self.introductions,
            "did_exchange": self.introductions,
            "features": OurFeatures(self.around.protocols.values()),
            "credentials": self.wallet,
            "proofs": self.prover,
            **{name: self._port(name, make) for name, make in self.around.ports.items()},
        }

    def _port(self, name: str, make: PortFactory) -> object:
        """Return a port of another package.

        Raises:
            UnavailableError: it cannot be made; the code is not ours and can fail in any way.
        """
        try:
            return make(self)
        except Exception as error:
            why = f"the port {name} of another package fails: {type(error).__name__}: {error}"
            raise UnavailableError(why) from error

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
        """Wake the tasks that wait for something that another process has changed."""
        for category, name in rows:
            if category == "exchange":
                self.dispatcher.wake(name)
            elif category == CONNECTION:
                self.outbox.note_changed(name)
        if any(category == POLICY for category, _ in rows):
            self.policies.reload()
        self.scheduler.try_early()

    def _take_up(self, left: TakenOver) -> None:
        """Go on with work that is taken over from a process that is gone."""
        self.outbox.take(left.outgoing, new=False)
        for waiting in left.waiting:
            self.scheduler.deliver(waiting)
        for x in left.pending:
            self.scheduler.follow(x)
        self.jobs.take_up()
        self.scheduler.look_again()

    def _drop(self) -> None:
        """Drop the work that another process has taken over."""
        self.outbox.drop()
        self.jobs.drop()

    async def _too_long(self, exchange: str, reason: str) -> None:
        """End the exchange of a message that is too long for its peer, and tell the peer."""
        try:
            report = ReportProblem(code="message-too-long", comment=reason)
            await self.dispatcher.command(exchange, report)
        except LocalError as error:
            log.info("exchange not ended", extra={"id": exchange, "reason": str(error)})

    async def _ask_ledger(self, did: str) -> Found | None:
        """Return the document of a DID on a ledger, made from what the ledger proves; None: the ledger has no such DID."""
        try:
            located = await self.around.ledgers.locate(did)
        except LedgerUnavailableError as error:
            raise UnavailableError(str(error)) from error
        except LedgerError:
            return None
        if located is None:
            return None
        namespace, found = located
        document = read_document(found.document, Did(did))
        return Found(document, str(LedgerDid.parse(did).at(namespace)))
