"""Keys and genesis files: the same names and, with the known seeds, DIDs as the classic von-network."""

from __future__ import annotations

import contextlib
import io
import shutil

from keep_network import seeds, settings
from keep_network.record import Network

MADE = ("data", "keys", "genesis", "info")


def create(network: Network) -> None:
    """Write the keys of all nodes and both genesis files; what an earlier try left goes."""
    for name in MADE:
        shutil.rmtree(network.folder / name, ignore_errors=True)
    config = settings.load(network.folder)
    from indy_common.config_helper import ConfigHelper, NodeConfigHelper
    from indy_common.txn_util import getTxnOrderedFields
    from plenum.common.test_network_setup import TestNetworkSetup

    class Setup(TestNetworkSetup):
        @staticmethod
        def getSigningSeed(name: str) -> bytes:  # noqa: N802 - plenum's name
            return seeds.of(network, name)

    nodes = network.nodes
    hosts = [network.host(number) for number in range(1, nodes + 1)]
    stewards, members = Setup.gen_defs(hosts, nodes, network.first_port - 1)
    with contextlib.redirect_stdout(io.StringIO()):  # plenum prints the seeds
        Setup.bootstrapTestNodesCore(
            config,
            settings.POOL,
            appendToLedgers=False,
            domainTxnFieldOrder=getTxnOrderedFields(),
            trustee_def=Setup.gen_trustee_def(1),
            steward_defs=stewards,
            node_defs=members,
            client_defs=[],
            localNodes=range(1, nodes + 1),
            nodeParamsFileName="indy.env",
            config_helper_class=ConfigHelper,
            node_config_helper_class=NodeConfigHelper,
            chroot=None,
        )


def create_keys(network: Network, number: int) -> dict[str, str]:
    """Write the keys of one more node, and return what its NODE transaction says of it.

    `dest` is its DID in the pool ledger; `blskey` and `blskey_pop` are its BLS key and the
    proof that it has the secret one.
    """
    config = settings.load(network.folder)
    from indy_common.config_helper import ConfigHelper
    from plenum.common.keygen_utils import initNodeKeysForBothStacks
    from plenum.common.test_network_setup import TestNetworkSetup

    name = f"Node{number}"
    place = ConfigHelper(config, chroot=None).keys_dir
    with contextlib.redirect_stdout(io.StringIO()):  # plenum prints the seed
        _, verkey, bls, proof = initNodeKeysForBothStacks(
            name, place, seeds.of(network, name), override=True
        )
    dest = TestNetworkSetup.getNymFromVerkey(verkey.encode())
    return {"alias": name, "dest": dest, "blskey": bls, "blskey_pop": proof}
