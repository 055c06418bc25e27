"""From version 2 to 3: credentials are found by what they have, exchanges listed by role and state."""

from __future__ import annotations

import json
from pathlib import Path

from agent.old_stores import Rows, askar, migrate, opened, rows_of

from keep_agent.credentials.wallet import CREDENTIAL, attribute_tag
from keep_agent.store.lists import listed


def credentials(rows: Rows) -> Rows:
    return {row: held for row, held in rows.items() if row[0] == CREDENTIAL}


async def test_every_attribute_of_an_old_credential_is_found_by_its_digest(
    path: Path, before: Rows
) -> None:
    old = credentials(before)
    assert any(tag.startswith("has:") for _, tags in old.values() for tag in tags)
    async with opened(path) as profile:
        for (_, name), (value, _) in old.items():
            for attribute in value["credential"]["values"]:
                tags = {attribute_tag(attribute): "1"}
                assert (name, value) in await profile.find(CREDENTIAL, tags)


async def test_nothing_else_of_a_credential_has_changed(path: Path, before: Rows) -> None:
    await migrate(path)
    after = credentials(await rows_of(path))
    assert after.keys() == credentials(before).keys()
    for row, (value, tags) in credentials(before).items():
        names = value["credential"]["values"]
        kept = {tag: text for tag, text in tags.items() if not tag.startswith("has:")}
        assert after[row] == (value, kept | {attribute_tag(each): "1" for each in names})


async def test_exchanges_of_version_2_are_listed_by_role_and_state(path: Path) -> None:
    await migrate(path)
    exchanges = {
        name: row for (kind, name), row in (await rows_of(path)).items() if kind == "exchange"
    }
    store = await askar(path)
    async with store.transaction("main") as tx:
        for name, (x, tags) in exchanges.items():
            bucket = tags["~state"].rpartition(".")[2]
            old = {**tags, "~state": f"{x['protocol']} {x['state']}.{bucket}"}
            await tx.replace("exchange", name, json.dumps(x), old)
        await tx.commit()
    async with store.transaction() as tx:
        await tx.replace("meta", "version", json.dumps({"version": 2}))
        await tx.commit()
    await store.close()
    async with opened(path) as profile:
        for name, (x, _) in exchanges.items():
            found = await listed(
                profile, "~state", f"{x['protocol']} {x['role']} {x['state']}", 1000
            )
            assert name in [each.id for each in found]
    after = await rows_of(path)
    assert {name: after["exchange", name] for name in exchanges} == exchanges
