# What this project uses of it, the parts that it inherits from plenum included.

from collections.abc import Iterable
from typing import Any, Protocol

from plenum.common.ledger import Ledger
from plenum.server.database_manager import DatabaseManager
from plenum.server.node import Node

class _GenesisTxnInitiator(Protocol):
    def create_initiator_ledger(self) -> Ledger: ...

class _WriteRequestManager(Protocol):
    def restore_state(self, txn: dict[str, Any], ledger_id: int) -> None: ...

class NodeBootstrap:
    node: Node
    db_manager: DatabaseManager
    write_manager: _WriteRequestManager
    pool_genesis: _GenesisTxnInitiator
    domain_genesis: _GenesisTxnInitiator
    def upload_states(self, ledger_ids: Iterable[int]) -> None: ...
    def _init_storages(self, domain_storage: Ledger | None = None) -> None: ...
    def _update_txn_with_extra_data(self, txn: dict[str, Any]) -> dict[str, Any]: ...
