"""A node that can be cut off from others; imported when plenum can be."""

from __future__ import annotations

import time
from typing import Any

from indy_node.server.node import Node
from plenum.common.messages.internal_messages import VoteForViewChange
from plenum.common.stacks import NodeZStack
from plenum.server.suspicion_codes import Suspicions

from keep_network.cut import Cut

STALLED_S = 10


class CuttableStack(NodeZStack):  # type: ignore[misc] # plenum is untyped
    """A node's connections to the others, of which some may be barred.

    Barring closes our socket to a peer, so that plenum sees it as disconnected (and replaces a
    primary), and drops what still comes in from it.
    """

    cut: Cut | None = None
    _barred: frozenset[str] = frozenset()

    def obey(self) -> bool:
        """Close and open connections as the partition says; say whether we came back to any."""
        barred = frozenset(name for name in self.remotes if self._bars(name))
        before, self._barred = self._barred, barred
        for name in barred:
            if self.remotes[name].socket is not None:
                self.disconnectByName(name)
        back = [name for name in before - barred if name in self.remotes]
        for name in back:
            self.reconnectRemoteWithName(name)
        return bool(back)

    def transmit(self, msg: Any, uid: Any, *args: Any, **options: Any) -> Any:
        """Send, unless the peer is barred."""
        if self._bars(uid):
            return False, f"{uid} is cut off"
        return super().transmit(msg, uid, *args, **options)

    def connect(self, name: str | None = None, *args: Any, **options: Any) -> Any:
        """Connect, unless the peer is barred: then it is known and not connected."""
        told = super().connect(name, *args, **options)
        if self._bars(name):
            self.disconnectByName(name)
        return told

    def reconnectRemote(self, remote: Any) -> None:  # noqa: N802 - plenum's name
        """Connect anew, unless the peer is barred."""
        if not self._bars(remote.name):
            super().reconnectRemote(remote)

    def _verifyAndAppend(self, msg: bytes, ident: bytes) -> Any:  # noqa: N802 - plenum's name
        """Take a message in, unless its sender is barred."""
        remote = self.remotesByKeys.get(ident)
        if remote is not None and self._bars(remote.name):
            return False
        return super()._verifyAndAppend(msg, ident)

    def _bars(self, peer: Any) -> bool:
        return self.cut is not None and self.cut.bars(peer)


class LocalNode(Node):  # type: ignore[misc] # indy-node is untyped
    """A node of a local network.

    It obeys partitions, catches up when one ends, and does not wait four minutes for a primary
    that is connected and orders nothing: because it hangs, or because all nodes were killed when
    it alone had stored the last batch, so that the others cannot follow it.
    """

    _ordered: Any = None
    _ordered_at = 0.0

    @property
    def nodeStackClass(self) -> type[CuttableStack]:  # noqa: N802 - plenum's name
        """What plenum makes the connections to the other nodes of."""
        return CuttableStack

    def on_inconsistent_3pc_state(self) -> None:
        """Do nothing: upstream asks a service manager, which is not here, to restart the node.

        Called when too few others are left; the catch-up after a partition mends it.
        """

    def checkPerformance(self) -> Any:  # noqa: N802 - plenum's name; called every PerfCheckFreq
        """Vote for another primary when requests wait and none is ordered any more."""
        if self._stalled():
            vote = VoteForViewChange(Suspicions.PRIMARY_DEGRADED)
            self.master_replica.internal_bus.send(vote)
            return False
        return super().checkPerformance()

    def _stalled(self) -> bool:
        now = time.perf_counter()
        if self.master_last_ordered_3PC != self._ordered:
            self._ordered, self._ordered_at = self.master_last_ordered_3PC, now
        if not self.isParticipating or self.view_change_in_progress:
            return False
        waiting = self.monitor.requestTracker.unhandled_unordered()
        limit = now - STALLED_S
        return self._ordered_at < limit and any(begun < limit for _, begun in waiting)

    async def prod(self, limit: int | None = None) -> int:
        """Do what there is to do, and return how much it was."""
        if self.nodestack.obey() and self.isParticipating:
            # It would notice what it missed only after two more checkpoints.
            self.start_catchup()
        return int(await super().prod(limit))
