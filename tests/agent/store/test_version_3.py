"""From version 2 to 3: a held credential is found by what it has, whatever its attributes are called."""

from __future__ import annotations

from pathlib import Path

from agent.old_stores import Rows, migrate, opened, rows_of

from keep_agent.credentials.wallet import CREDENTIAL, attribute_tag


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
