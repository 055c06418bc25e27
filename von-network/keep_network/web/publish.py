"""Writes the author agreement that the operator gave, if the ledger has another one or none."""

from __future__ import annotations

import logging

from keep_network.agreement import AML_FILE, GET_AML, GET_TAA, TAA_FILE
from keep_network.json_shape import Json
from keep_network.web.connection import Open
from keep_network.web.errors import RefusedError, UnavailableError
from keep_network.web.keys import Key
from keep_network.web.nodes import Nodes
from keep_network.web.transactions import mapping

log = logging.getLogger(__name__)


def publishing(opens: Open, key: Key, aml: Json | None, taa: Json | None) -> Open:
    """Return a way to the nodes that is open once the ledger has these.

    Args:
        opens: the plain way to the nodes.
        key: who may write them; a trustee.
        aml: the operation that writes the ways to accept; None: leave them.
        taa: the operation that writes the agreement; None: leave it.
    """

    async def published(genesis: str) -> Nodes:
        nodes = await opens(genesis)
        try:
            if aml:
                await _publish(nodes, key, GET_AML, aml, AML_FILE)
            if taa:
                await _publish(nodes, key, GET_TAA, taa, TAA_FILE)
        except BaseException:
            nodes.close()
            raise
        return nodes

    return published


async def _publish(nodes: Nodes, key: Key, query: str, wanted: Json, variable: str) -> None:
    """Write it unless the ledger has this version already; versions never change.

    Raises:
        UnavailableError: the nodes do not answer, or refuse.
    """
    there = mapping((await nodes.read({"type": query})).get("data"))
    if there.get("version") == wanted["version"]:
        return
    try:
        number = await nodes.write(wanted, key, {})
    except RefusedError as error:
        raise UnavailableError(f"{variable} was not written: {error}") from error
    log.info("%s, version %s: transaction %d", variable, wanted["version"], number)
