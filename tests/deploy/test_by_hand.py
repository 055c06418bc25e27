"""What docs/by-hand.md tells people to type works, and works again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from processes import free_ports
from venvs import NODE

ROOT = Path(__file__).resolve().parents[2]
BY_HAND = (ROOT / "docs" / "by-hand.md").read_text("utf-8")
LONG_S = 240
MANAGE = f"""#!/bin/sh
# As ./manage, with a network that has ports of its own and ends with us.
shift
[ "$1" = start ] && set -- "$@" --port-base auto --web-port none --die-with {os.getpid()}
exec {ROOT}/von-network/manage "$@" --dir .indykeep/networks/local
"""


@pytest.mark.pool
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_every_step_works_and_so_it_does_a_second_time(tmp_path: Path) -> None:
    (tmp_path / "manage").write_text(MANAGE)
    (tmp_path / "manage").chmod(0o755)
    (tmp_path / ".indykeep").mkdir()
    (tmp_path / ".indykeep" / "venv").symlink_to(sys.prefix)
    own = {k: v for k, v in os.environ.items() if not k.startswith("INDYKEEP_")}
    with free_ports(4) as (peers, admin, alice, alice_admin):
        ports = {"8021": admin, "8030": alice, "8031": alice_admin}
        blocks = re.findall(r"```sh\n(.*?)```", BY_HAND, re.DOTALL)
        script = re.sub("|".join(ports), lambda found: str(ports[found[0]]), "".join(blocks))
        env = {
            "INDYKEEP_PORT": str(peers),
            "INDYKEEP_ADMIN_PORT": str(admin),
            "INDYKEEP_NODE_VENV": str(NODE.path),
            "INDYKEEP_DIE_WITH": str(os.getpid()),
        }
        for _ in range(2):
            done = subprocess.run(
                ["bash", "-e", "-u", "-o", "pipefail", "-c", script],
                cwd=tmp_path,
                env=own | env,
                capture_output=True,
                text=True,
                check=False,
                timeout=LONG_S,
            )
            said = done.stdout + done.stderr
            assert done.returncode == 0, said
            assert "'ok': True" in said
            assert "\ncompleted\n" in said
