"""From version 2 to 3 of a store: tags of held credentials, and of the lists of exchanges.

A held credential is found by digests of its attributes' names. In version 2 the names themselves were names of tags
(`has:name`), and a tag's name takes no quotes and not every script. An exchange is listed by its role and state together, in
version 2 by its state alone. A connection is found by our DID in it and by each invitation that it was used for.

What is here knows the rows of both versions and does not change with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

from keep_agent.core.message import Json, write_json
from keep_agent.store.old_rows import Change, OldRows, Row
from keep_agent.store.version_2 import Changes

BUCKET = 128


async def _credentials(rows: OldRows) -> Changes:
    async for entry in rows.all("credential"):
        old = {tag for tag in entry.tags if tag.startswith("has:")}
        if not old:
            yield None
            continue
        names = json.loads(entry.value)["credential"]["values"]
        tags = {tag: value for tag, value in entry.tags.items() if tag not in old}
        tags |= {_tag(name): "1" for name in names}
        yield Change(changed=(Row("credential", entry.name, entry.value, tags),))


def _tag(name: str) -> str:
    common = name.replace(" ", "").lower()
    return f"attribute:{hashlib.sha256(common.encode()).hexdigest()[:32]}"


async def _exchanges(rows: OldRows) -> Changes:
    async for entry in rows.all("exchange"):
        x = json.loads(entry.value)
        state = f"{x['protocol']} {x['role']} {x['state']}.{x['number'] // BUCKET}"
        tags, value = {**entry.tags, "~state": state}, entry.value
        if record := x["records"].get("connection"):
            more = _of_connection(record["value"])
            record["tags"] |= more
            value = write_json(x)
            tags |= {
                f"connection.{tag}": set(v) if isinstance(v, list) else v
                for tag, v in more.items()
            }
        changed = (Row("exchange", entry.name, value, tags),)
        yield Change(changed=changed) if tags != entry.tags else None


def _of_connection(connection: Json) -> dict[str, str | list[str]]:
    """Return the tags of a connection that are new: our DID, and all invitations that it came from."""
    came_from = [connection["invitation"] or "", *connection["reused"]]
    peer = came_from if len(came_from) > 1 else came_from[0]
    return {"my_did": connection["my_did"] or "", "peer": peer}


STAGES: Mapping[str, Callable[[OldRows], Changes]] = {
    "credential": _credentials,
    "exchange": _exchanges,
}
