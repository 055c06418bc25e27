"""A private file is whole or as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keep_ledger.private_files import write_private


def test_a_private_file_is_replaced_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    place = tmp_path / "share"
    for text in ("first", "zweites: größer"):
        write_private(place, text)
        assert place.read_text(encoding="utf-8") == text
    assert place.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_killed_writer_left_aside_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "share.new").write_text("half")
    write_private(tmp_path / "share", "whole")
    assert (tmp_path / "share").read_text() == "whole"


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
