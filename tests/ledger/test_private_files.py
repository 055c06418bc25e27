"""A file is whole or as it was."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from keep_ledger.private_files import burn, write_private, write_shared


def test_a_private_file_is_replaced_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    place = tmp_path / "share"
    for text in ("first", "zweites: größer"):
        write_private(place, text)
        assert place.read_text(encoding="utf-8") == text
    assert place.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_what_a_killed_writer_left_is_used_or_replaced(tmp_path: Path, mode: int) -> None:
    (tmp_path / "share.new").write_text("half of something longer")
    (tmp_path / "share.new").chmod(mode)
    write_private(tmp_path / "share", "whole")
    assert (tmp_path / "share").read_text() == "whole"
    assert (tmp_path / "share").stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "share"]


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "share"
    write_private(place, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_private(place, "new")
    assert place.read_text() == "old"


def test_many_writers_at_once_never_mix(tmp_path: Path) -> None:
    place = tmp_path / "cached"
    texts = [letter * 5000 for letter in "abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            list(pool.map(partial(write_private, place), texts))
            assert place.read_text() in texts
    assert list(tmp_path.iterdir()) == [place]


def test_a_file_for_others_follows_the_umask(tmp_path: Path) -> None:
    place = tmp_path / "p.psit"
    umask = os.umask(0o022)
    try:
        write_shared(place, b"\x00\xff")
    finally:
        os.umask(umask)
    assert place.read_bytes() == b"\x00\xff"
    assert place.stat().st_mode & 0o777 == 0o644


def test_a_burnt_file_is_overwritten_and_gone(tmp_path: Path) -> None:
    place, other = tmp_path / "sheet", tmp_path / "link"
    write_private(place, "secret words")
    other.hardlink_to(place)
    burn(place)
    assert not place.exists()
    assert other.read_bytes() == bytes(len("secret words"))
