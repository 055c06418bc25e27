from indy_common.config_helper import NodeConfigHelper
from indy_node.server.node_bootstrap import NodeBootstrap
from plenum.server.node import Node as PlenumNode
from stp_core.types import HA

class Node(PlenumNode):
    # The first argument and those that we name; there are more between them.
    def __init__(
        self,
        name: str,
        *,
        ha: HA | None = None,
        cliha: HA | None = None,
        config_helper: NodeConfigHelper | None = None,
        bootstrap_cls: type[NodeBootstrap] = ...,
    ) -> None: ...
    def on_inconsistent_3pc_state(self) -> None: ...
