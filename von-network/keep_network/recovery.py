"""What a sudden end leaves of a batch, and how a node makes it good when it starts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from indy_node.server.node_bootstrap import NodeBootstrap
from plenum.common.constants import (
    AUDIT_LEDGER_ID,
    AUDIT_TXN_LEDGER_ROOT,
    AUDIT_TXN_LEDGERS_SIZE,
    AUDIT_TXN_STATE_ROOT,
    DOMAIN_LEDGER_ID,
    POOL_LEDGER_ID,
)
from plenum.common.ledger import Ledger
from plenum.common.txn_util import get_payload_data, get_txn_time
from state.pruning_state import PruningState
from state.trie.pruning_trie import BLANK_ROOT

from keep_network.json_shape import Json


class RecoveringBootstrap(NodeBootstrap):
    """Opens a node's stores, and takes each ledger back to the last batch that it has whole.

    Plenum writes a batch to its ledger, to the state, to the audit ledger and to its indexes, one
    after the other; a catch-up writes the audit ledger first. A node that is killed in between
    would find the transactions at its next start and believe that the state has them: its state
    roots would be others than everybody's for ever, and it would take part in nothing. The audit
    ledger tells the size and the state root after each batch, so what is beyond the last whole
    one goes (the others have it), and that one is applied once more, as plenum's catch-up would.
    """

    def _init_storages(self, domain_storage: Ledger | None = None) -> None:
        super()._init_storages(domain_storage)
        self._again = {
            ledger_id: self._take_back(ledger_id)
            for ledger_id in self.db_manager.ledgers
            if ledger_id != AUDIT_LEDGER_ID
        }

    def upload_states(self, ledger_ids: Iterable[int]) -> None:
        """Apply the last batch of each ledger once more, and fill states that are empty."""
        for ledger_id, (numbers, root) in self._again.items():
            ledger, state = self._stores(ledger_id)
            batch = [self._update_txn_with_extra_data(_read(ledger, n)) for n in numbers]
            for txn in [] if state.isEmpty else batch:
                self.write_manager.restore_state(txn, ledger_id)
            if state.committedHeadHash != root:
                _set_root(state, BLANK_ROOT)  # to be made from the whole ledger
            for txn in batch:
                self.db_manager.ts_store.set(_time(txn), root, ledger_id=ledger_id)
            self.node.updateSeqNoMap(batch, ledger_id)
        self._again.clear()
        super().upload_states(ledger_ids)

    def _stores(self, ledger_id: int) -> tuple[Ledger, PruningState]:
        state = self.db_manager.get_state(ledger_id)
        assert state is not None  # only the audit ledger has none
        return self.db_manager.get_ledger(ledger_id), state

    def _take_back(self, ledger_id: int) -> tuple[range, bytes]:
        """Drop what comes after the last whole batch, and let the state be as before it.

        Return the numbers of that batch's transactions, and the root of the state with them.
        """
        ledger, state = self._stores(ledger_id)
        batches = range(1, self._audit.size + 1)
        last = bisect_right(
            batches, ledger.size, key=lambda batch: self._size(batch, ledger_id)
        )
        size, before = self._size(last, ledger_id), self._size(last - 1, ledger_id)
        _truncate(ledger, size)
        _set_root(state, self._root(last - 1, ledger_id))
        return range(before + 1, size + 1), self._root(last, ledger_id)

    @property
    def _audit(self) -> Ledger:
        return self.db_manager.get_ledger(AUDIT_LEDGER_ID)

    def _told(self, batch: int) -> dict[str, dict[int, Any]]:
        """Return what the audit ledger says of a batch."""
        return get_payload_data(_read(self._audit, batch))

    def _size(self, batch: int, ledger_id: int) -> int:
        """Return how many transactions a ledger has after a batch; 0 is the genesis."""
        if batch < 1:
            return self._genesis(ledger_id)
        return int(self._told(batch)[AUDIT_TXN_LEDGERS_SIZE][ledger_id])

    def _root(self, batch: int, ledger_id: int) -> bytes:
        """Return the root of a state after a batch; that of an empty one if it is not told."""
        if batch < 1:
            return BLANK_ROOT
        root = self._told(batch)[AUDIT_TXN_LEDGER_ROOT].get(ledger_id)
        if isinstance(root, int):  # unchanged for so many batches
            return self._root(batch - root, ledger_id)
        told = self._told(batch)[AUDIT_TXN_STATE_ROOT].get(ledger_id)
        return Ledger.strToHash(told) if told else BLANK_ROOT

    def _genesis(self, ledger_id: int) -> int:
        """Return how many transactions a ledger begins with."""
        files = {POOL_LEDGER_ID: self.pool_genesis, DOMAIN_LEDGER_ID: self.domain_genesis}
        if ledger_id not in files:
            return 0
        genesis = files[ledger_id].create_initiator_ledger()
        genesis.stop()
        return genesis.size


def _read(ledger: Ledger, number: int) -> Json:
    txn = ledger.getBySeqNo(number)
    assert txn is not None  # the number is within the ledger's size
    return txn


def _time(txn: Json) -> int:
    moment = get_txn_time(txn)
    assert moment is not None  # only a genesis has none
    return moment


def _truncate(ledger: Ledger, size: int) -> None:
    """Drop the transactions after the first so many."""
    if size >= ledger.size:
        return
    log = ledger._transactionLog  # noqa: SLF001 - plenum has no way to drop a transaction
    for number in range(ledger.size, size, -1):
        log.remove(str(number))
    ledger.recoverTreeFromTxnLog()


def _set_root(state: PruningState, root: bytes) -> None:
    """Let a state be what it was; empty, if its store does not have that (any more)."""
    try:
        state.revertToHead(root)
    except KeyError:
        state.revertToHead(BLANK_ROOT)
    state.commit()
