"""From version 2 to 3 of a store: tags of held credentials, and of the lists of exchanges.

A held credential is found by digests of its attributes' names. In version 2 the names themselves were names of tags
(`has:name`), and a tag's name takes no quotes and not every script. An exchange is listed by its role and state together, in
version 2 by its state alone.

What is here knows the rows of both versions and does not change with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

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
        tags = {**entry.tags, "~state": state}
        changed = (Row("exchange", entry.name, entry.value, tags),)
        yield Change(changed=changed) if tags != entry.tags else None


STAGES: Mapping[str, Callable[[OldRows], Changes]] = {
    "credential": _credentials,
    "exchange": _exchanges,
}
