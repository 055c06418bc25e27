"""The examples of tests/README.md are tests that pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "tests" / "README.md").read_text("utf-8")


def test_every_example_runs(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for number, example in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(example)
    given = ("--rootdir", ROOT, "-c", ROOT / "pyproject.toml", "-p", "agent.conftest")
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", *given, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(examples)} passed" in ran.stdout
    assert len(examples) == 5
