"""A small disk that fills up: said in one sentence, and nothing is lost once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pool import MANAGE

LONG = bool(os.environ.get("INDYKEEP_CAMPAIGN"))
MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && cd "$2" && manage=$3 &&'
DID = "LibindyDid111111111111"
REGISTER = f"$manage register --dir net --did {DID} --verkey GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"
FILLED = f"""
$manage start --dir net --port-base auto --web-port none --die-with $$ &&
dd if=/dev/zero of=filler bs=4096 2>&1 | grep -o "No space left on device" >&2
{REGISTER}; echo "register said $?"
rm filler
$manage restart --dir net && {REGISTER} && $manage stop --dir net
"""


def on_small_disk(folder: Path, size: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script on a disk of its own, seen by nobody else; needs no root."""
    probe = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", str(folder)]
    if not shutil.which("unshare") or subprocess.run(probe, check=False).returncode:
        pytest.skip("this system does not let users mount")
    return subprocess.run(
        ["unshare", "-Urm", "sh", "-c", MOUNT + script, "sh", size, str(folder), str(MANAGE)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_start_on_a_full_disk_says_how_much_it_takes(tmp_path: Path) -> None:
    refused = on_small_disk(tmp_path, "20m", "$manage start --dir net --port-base auto")
    assert refused.returncode == 1
    assert f"less than 50 MB are free in {tmp_path}/net" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.pool
@pytest.mark.campaign
@pytest.mark.skipif(not LONG, reason="part of ./manage campaign network")
def test_a_disk_that_fills_up_is_named_and_the_network_goes_on_with_room(
    tmp_path: Path,
) -> None:
    done = on_small_disk(tmp_path, "120m", FILLED)
    assert done.returncode == 0, done.stderr
    assert "register said 1" in done.stdout
    assert f"the disk of {tmp_path}/net is full" in done.stderr
    assert "Traceback" not in done.stderr
