from typing import NamedTuple

from plenum.common.messages.node_messages import Prepare

class ThreePhaseVotes(NamedTuple):
    voters: set[str]
    msg: Prepare  # in votes of other kinds something else
