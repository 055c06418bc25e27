"""Keys and genesis files: the same seeds, names and DIDs as the classic von-network."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

from keep_network import settings

HOST = "127.0.0.1"
MADE = ("data", "keys", "genesis", "info")


def create(folder: Path, nodes: int, first_port: int) -> None:
    """Write the keys of all nodes and both genesis files; what an earlier try left goes.

    Trustee `000...Trustee1`, stewards `000...Steward1` and so on, nodes `000...Node1` and so
    on: 32 characters, padded with zeros in front. Node i listens for nodes on
    `first_port + 2i - 2` and for clients on the port after that.
    """
    for name in MADE:
        shutil.rmtree(folder / name, ignore_errors=True)
    config = settings.load(folder)
    from indy_common.config_helper import ConfigHelper, NodeConfigHelper
    from indy_common.txn_util import getTxnOrderedFields
    from plenum.common.test_network_setup import TestNetworkSetup

    stewards, members = TestNetworkSetup.gen_defs([HOST] * nodes, nodes, first_port - 1)
    with contextlib.redirect_stdout(io.StringIO()):  # plenum prints the seeds
        TestNetworkSetup.bootstrapTestNodesCore(
            config,
            settings.POOL,
            appendToLedgers=False,
            domainTxnFieldOrder=getTxnOrderedFields(),
            trustee_def=TestNetworkSetup.gen_trustee_def(1),
            steward_defs=stewards,
            node_defs=members,
            client_defs=[],
            localNodes=range(1, nodes + 1),
            nodeParamsFileName="indy.env",
            config_helper_class=ConfigHelper,
            node_config_helper_class=NodeConfigHelper,
            chroot=None,
        )


def create_keys(folder: Path, number: int) -> dict[str, str]:
    """Write the keys of one more node, and return what its NODE transaction says of it.

    `dest` is its DID in the pool ledger; `blskey` and `blskey_pop` are its BLS key and the
    proof that it has the secret one.
    """
    config = settings.load(folder)
    from indy_common.config_helper import ConfigHelper
    from plenum.common.keygen_utils import initNodeKeysForBothStacks
    from plenum.common.test_network_setup import TestNetworkSetup

    name = f"Node{number}"
    place = ConfigHelper(config, chroot=None).keys_dir
    with contextlib.redirect_stdout(io.StringIO()):  # plenum prints the seed
        _, verkey, bls, proof = initNodeKeysForBothStacks(
            name, place, TestNetworkSetup.getSigningSeed(name), override=True
        )
    dest = TestNetworkSetup.getNymFromVerkey(verkey.encode())
    return {"alias": name, "dest": dest, "blskey": bls, "blskey_pop": proof}
