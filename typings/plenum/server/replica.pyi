from typing import Protocol

from plenum.server.consensus.ordering_service import OrderingService

class _InternalBus(Protocol):
    def send(self, message: object) -> None: ...

class Replica:
    _ordering_service: OrderingService
    @property
    def name(self) -> str: ...
    @property
    def isPrimary(self) -> bool | None: ...
    @property
    def internal_bus(self) -> _InternalBus: ...
