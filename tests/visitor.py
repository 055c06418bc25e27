"""An agent on another host: `visitor.py URL FOLDER` registers with a network there and writes.

Prints one JSON object: its DID, the schema that it wrote, and the status of a foreign page's try.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp

from network_and_agents import NETWORK, agent

PORTS = (21801, 21802)


async def main(url: str, folder: Path) -> None:
    """Use a network of which nothing but the URL of its web server is known."""
    ledger = {"plugin": "indy", "namespace": NETWORK, "genesis": f"{url}/genesis"}
    settings = {"ledgers": json.dumps([ledger])}
    async with (
        aiohttp.ClientSession(url) as web,
        agent("Visitor", folder, genesis=None, ports=PORTS, settings=settings) as visitor,
    ):
        made = await visitor.client.create_did(namespace=NETWORK)
        did = made["did"].rpartition(":")[2]
        body = {"did": did, "verkey": made["verkey"]}
        foreign = {"Host": "evil.example", "Origin": "http://evil.example"}
        async with web.post("/register", json=body, headers=foreign) as refused:
            status = refused.status
        async with web.post("/register", json=body) as answer:
            answer.raise_for_status()
        job = await visitor.client.write("schemas", name="s", version="1.0", attributes=["a"])
        done = await visitor.client.job_done(job["id"])
        told = {"did": did, "schema": done["result"], "foreign": status}
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
