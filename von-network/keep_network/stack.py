"""A node that can be cut off from others; imported when plenum can be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from indy_node.server.node import Node
from plenum.common.constants import AUDIT_LEDGER_ID
from plenum.common.messages.internal_messages import VoteForViewChange
from plenum.common.messages.node_messages import ConsistencyProof
from plenum.common.stacks import NodeZStack
from plenum.server.models import ThreePhaseVotes
from plenum.server.replica_validator_enums import STASH_VIEW_3PC
from plenum.server.suspicion_codes import Suspicions
from stp_zmq.remote import Remote

from keep_network.cut import Cut

LOST_S = 2
STALLED_S = 10
AGAIN_S = 12


class CuttableStack(NodeZStack):
    """A node's connections to the others, of which some may be barred.

    Barring closes our socket to a peer, so that plenum sees it as disconnected (and replaces a
    primary), and drops what still comes in from it.
    """

    cut: Cut | None = None
    _barred: frozenset[str] = frozenset()

    def obey(self) -> bool:
        """Close and open connections as the partition says.

        Return whether we came back from a side that was too small to go on.
        """
        barred = frozenset(name for name in self.remotes if self._bars(name))
        before, self._barred = self._barred, barred
        for name in barred:
            if self.remotes[name].socket is not None:
                self.disconnectByName(name)
        back = [name for name in before - barred if name in self.remotes]
        for name in back:
            self.reconnectRemoteWithName(name)
        others = len(self.remotes)
        return bool(back) and len(before) > others // 3

    def transmit(
        self, msg: Any, uid: str, *args: Any, **options: Any
    ) -> tuple[bool, str | None]:
        """Send, unless the peer is barred."""
        if self._bars(uid):
            return False, f"{uid} is cut off"
        return super().transmit(msg, uid, *args, **options)

    def connect(self, name: str | None = None, *args: Any, **options: Any) -> str:
        """Connect, unless the peer is barred: then it is known and not connected."""
        told = super().connect(name, *args, **options)
        if name is not None and self._bars(name):
            self.disconnectByName(name)
        return told

    def reconnectRemote(self, remote: Remote) -> None:  # noqa: N802 - plenum's name
        """Connect anew, unless the peer is barred."""
        if not self._bars(remote.name):
            super().reconnectRemote(remote)

    def _verifyAndAppend(self, msg: bytes, ident: bytes) -> bool:  # noqa: N802 - plenum's name
        """Take a message in, unless its sender is barred."""
        remote = self.remotesByKeys.get(ident)
        if remote is not None and self._bars(remote.name):
            return False
        return super()._verifyAndAppend(msg, ident)

    def _bars(self, peer: str) -> bool:
        return self.cut is not None and self.cut.bars(peer)


class LocalNode(Node):
    """A node of a local network, which comes back into step by itself after any fault.

    It obeys partitions; it tells a node that comes back which requests wait; it says again what
    it has said of a batch that takes long (messages got lost, and plenum says nothing twice); it
    asks the others how far they are, and catches up with them (plenum waits for three more
    checkpoints, which never come if the others cannot go on alone); and it replaces a primary
    that is connected and orders nothing (plenum waits four minutes, and not at all if a catch-up
    has made it forget the requests).
    """

    _seen: tuple[int, tuple[int, int]] | None = None
    _seen_at = 0.0
    _asked_at = float("-inf")
    _tried_at = float("-inf")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ahead: set[str] = set()
        self.nodeMsgRouter.add((ConsistencyProof, self._hear_how_far))

    @property
    def nodeStackClass(self) -> type[CuttableStack]:  # noqa: N802 - plenum's name
        """What plenum makes the connections to the other nodes of."""
        return CuttableStack

    @property
    def links(self) -> CuttableStack:
        """The connections to the other nodes, which plenum calls `nodestack`."""
        assert isinstance(self.nodestack, CuttableStack)
        return self.nodestack

    def on_inconsistent_3pc_state(self) -> None:
        """Do nothing: upstream asks a service manager, which is not here, to restart the node.

        Called when too few others are left; the catch-up after a partition mends it.
        """

    def onConnsChanged(self, joined: set[str], left: set[str]) -> None:  # noqa: N802 - plenum's
        """Tell nodes that are back which requests wait; a primary may have missed them.

        Plenum sends a PROPAGATE once. A primary that was away for it never orders the request,
        and its client waits for ever.
        """
        super().onConnsChanged(joined, left)
        for state in list(self.requests.values()) if joined else []:
            if not state.executed and self.requests.has_propagated(state.request, self.name):
                client = self.requestSender.get(state.request.key)
                self.sendToNodes(self.createPropagate(state.request, client), joined)

    def checkPerformance(self) -> bool | None:  # noqa: N802 - plenum's name; called every PerfCheckFreq
        """Do something about standstill: speak again, catch up, vote for another primary."""
        still_s = self._standstill_s()
        if still_s > LOST_S:
            if self._behind() and self._may_catch_up():
                self._tried_at = time.perf_counter()
                self.start_catchup()
                return False
            waiting = self._waiting(LOST_S)
            if waiting:
                self._say_again()
            if waiting or time.perf_counter() - self._asked_at > AGAIN_S:
                self._ask_how_far()
        if still_s > STALLED_S and self._waiting(STALLED_S):
            vote = VoteForViewChange(Suspicions.PRIMARY_DEGRADED)
            self.master_replica.internal_bus.send(vote)
            return False
        return super().checkPerformance()

    def _standstill_s(self) -> float:
        """How long nothing was ordered and the view was the same, in seconds; 0 when at work."""
        now, here = time.perf_counter(), (self.viewNo, self.master_last_ordered_3PC)
        busy = not self.isParticipating or self.view_change_in_progress
        if busy or here != self._seen:
            self._seen, self._seen_at = here, now
        return now - self._seen_at

    def _may_catch_up(self) -> bool:
        """Say whether a catch-up can end, and is not a mere repetition.

        One that begins without others holds the node up until it times out; and one that found
        nothing must not keep the node from voting for another primary.
        """
        again = time.perf_counter() - self._tried_at > AGAIN_S
        return again and self.quorums.ledger_status.is_reached(len(self.nodestack.connecteds))

    def _waiting(self, at_least_s: float) -> bool:
        """Say whether requests that enough nodes know have waited so long."""
        limit = time.perf_counter() - at_least_s
        return any(
            state.finalised_ts is not None and not state.executed and state.finalised_ts < limit
            for state in self.requests.values()
        )

    def _say_again(self) -> None:
        """Repeat our part of each batch that is not ordered, for those who have missed it."""
        order = self.master_replica._ordering_service  # noqa: SLF001 - plenum has no way to repeat
        for key in sorted({*order.sent_preprepares, *order.prePrepares}):
            batch = order.get_preprepare(*key)
            if (
                batch is None
                or key[0] != self.viewNo
                or key[1] <= self.master_last_ordered_3PC[1]
            ):
                continue
            if key in order.sent_preprepares:
                order._send(batch)  # noqa: SLF001 - as above
            elif self._has_said(order.prepares, key):
                order._do_prepare(batch)  # noqa: SLF001 - as above
            if self._has_said(order.commits, key):
                order._do_commit(order.prepares[key].msg)  # noqa: SLF001 - as above

    def _has_said(
        self, votes: Mapping[tuple[int, int], ThreePhaseVotes], key: tuple[int, int]
    ) -> bool:
        return key in votes and self.master_replica.name in votes[key].voters

    def _ask_how_far(self) -> None:
        """Tell others where our audit ledger ends; who is ahead proves it."""
        self._asked_at = time.perf_counter()
        self.sendToNodes(self.getLedgerStatus(AUDIT_LEDGER_ID), self.nodestack.connecteds)

    def _hear_how_far(self, proof: ConsistencyProof, sender: str) -> None:
        """Note who is ahead of us."""
        ours = self.getLedger(AUDIT_LEDGER_ID).size
        if proof.ledgerId == AUDIT_LEDGER_ID and proof.seqNoEnd > ours:
            self._ahead.add(sender)
        self.ledgerManager.processConsistencyProof(proof, sender)

    def _behind(self) -> bool:
        """Say whether more nodes than may lie are ahead of us, or any speaks of a later view."""
        ahead, self._ahead = self._ahead, set()
        stasher = self.master_replica._ordering_service._stasher  # noqa: SLF001 - not told else
        return self.quorums.weak.is_reached(len(ahead)) or bool(
            stasher.stash_size(STASH_VIEW_3PC)
        )

    async def prod(self, limit: int | None = None) -> int:
        """Do what there is to do, and return how much it was."""
        # A node of a small side has missed something. The others have not; and a primary would
        # take back batches that they may be ordering, and send them again with other contents.
        if self.links.obey() and self.isParticipating and not self.master_replica.isPrimary:
            self.start_catchup()
        return await super().prod(limit)
