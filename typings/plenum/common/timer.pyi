from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

class _TimerEvent(NamedTuple):
    timestamp: float
    callback: Callable[[], Any]

class QueueTimer:
    _events: Sequence[_TimerEvent]
    def get_current_time(self) -> float: ...
