"""What never changes is asked for once; what is absent every time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from keep_ledger.indy import object_cache
from keep_ledger.indy.object_cache import ObjectCache
from keep_ledger.interface import Schema

ISSUER = "WgWxqztrNooG92RXvxSTWv"


def schema(number: int) -> Schema:
    return Schema(
        f"{ISSUER}:2:licence:{number}.0", ISSUER, "licence", f"{number}.0", ("a", "b"), number
    )


class Ledger:
    """Counts how often it is asked."""

    def __init__(self, *answers: Schema | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def ask(self) -> Schema | None:
        self.asked += 1
        await asyncio.sleep(0)
        return self.answers.pop(0)


async def test_an_object_is_asked_for_once(tmp_path: Path) -> None:
    ledger, one = Ledger(schema(1)), schema(1)
    objects = ObjectCache(Schema, tmp_path)
    assert [await objects.get(one.id, ledger.ask) for _ in range(3)] == [one] * 3
    assert await ObjectCache(Schema, tmp_path).get(one.id, ledger.ask) == one
    assert ledger.asked == 1


async def test_an_absent_object_is_asked_for_again(tmp_path: Path) -> None:
    ledger, one = Ledger(None, None, schema(1)), schema(1)
    objects = ObjectCache(Schema, tmp_path)
    assert [await objects.get(one.id, ledger.ask) for _ in range(3)] == [None, None, one]


async def test_readers_of_one_id_share_an_answer() -> None:
    ledger, one = Ledger(schema(1)), schema(1)
    objects = ObjectCache(Schema, None)
    assert (
        await asyncio.gather(*(objects.get(one.id, ledger.ask) for _ in range(5))) == [one] * 5
    )
    assert ledger.asked == 1


async def test_a_reader_that_is_cancelled_does_not_take_the_others_along() -> None:
    one, gate = schema(1), asyncio.Event()

    async def ask() -> Schema:
        await gate.wait()
        return one

    objects = ObjectCache(Schema, None)
    first = asyncio.create_task(objects.get(one.id, ask))
    second = asyncio.create_task(objects.get(one.id, ask))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second == one


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"id": 1}', "null", json.dumps(asdict(schema(2)))]
)
async def test_a_damaged_file_is_asked_for_anew(tmp_path: Path, text: str) -> None:
    one = schema(1)
    objects = ObjectCache(Schema, tmp_path)
    await objects.get(one.id, Ledger(one).ask)
    path = objects._path(one.id)
    assert path is not None
    path.write_text(text)
    again = Ledger(one)
    assert await ObjectCache(Schema, tmp_path).get(one.id, again.ask) == one
    assert again.asked == 1


async def test_memory_is_bounded_and_forgets_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_cache, "_IN_MEMORY", 2)
    objects = ObjectCache(Schema, None)
    one, two, three = schema(1), schema(2), schema(3)
    for each in (one, two, one, three):
        await objects.get(each.id, Ledger(each).ask)
    again = Ledger(two, two)
    assert await objects.get(one.id, again.ask) == one
    assert again.asked == 0
    assert await objects.get(two.id, again.ask) == two
    assert again.asked == 1


async def test_a_disk_that_is_full_costs_only_the_file(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    one = schema(1)
    assert await ObjectCache(Schema, blocked).get(one.id, Ledger(one).ask) == one
