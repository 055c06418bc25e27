from typing import NamedTuple

from plenum.server.suspicion_codes import Suspicion

class VoteForViewChange(NamedTuple):
    suspicion: Suspicion
    view_no: int | None = None  # the next
