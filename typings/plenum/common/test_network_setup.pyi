from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from indy_common.config_helper import ConfigHelper, NodeConfigHelper

class TestNetworkSetup:
    @staticmethod
    def getSigningSeed(name: str) -> bytes: ...
    @staticmethod
    def getNymFromVerkey(verkey: bytes) -> str: ...
    @classmethod
    def gen_defs(
        cls, ips: Sequence[str], nodeCount: int, starting_port: int
    ) -> tuple[list[Any], list[Any]]: ...
    @classmethod
    def gen_trustee_def(cls, idx: int) -> Any: ...
    @classmethod
    def bootstrapTestNodesCore(
        cls,
        config: Any,
        network: str,
        appendToLedgers: bool,
        domainTxnFieldOrder: Mapping[str, Any],
        trustee_def: Any,
        steward_defs: Sequence[Any],
        node_defs: Sequence[Any],
        client_defs: Sequence[Any],
        localNodes: Iterable[int],
        nodeParamsFileName: str,
        config_helper_class: type[ConfigHelper],
        node_config_helper_class: type[NodeConfigHelper],
        chroot: str | None = None,
    ) -> None: ...
