from __future__ import annotations

from pathlib import Path

import pytest
from bench.figures import Figure, table
from bench.main import QUICK, figures, measure
from pool import Network

import stage


@pytest.mark.pool
async def test_the_bench_loses_nothing_and_measures_all_that_it_promises(
    tmp_path: Path, network: Network
) -> None:
    pool = stage.Network(network.folder, network.genesis, {})
    results = await measure(QUICK, tmp_path, pool)
    assert results.other["lost"] == 0, results.errors
    found = {f.key: f.value for f in figures(results)}
    promised = (
        "credential_cpu_ratio presentation_cpu_ratio credentials_per_s presentations_per_s"
    )
    promised += " messages_per_s message_cpu_ms connection_cpu_ms cold_start_cpu_s idle_rss_mb"
    for key in (*promised.split(), "loop_stall_ms"):
        value = found[key]
        assert value is not None, key
        assert value > 0, key


def test_a_missed_target_is_called_missed() -> None:
    lines = table(
        [
            Figure("slow", "slow", 2.0, at_most=1),
            Figure("good", "good", 2.0, at_least=1),
            Figure("unmeasured", "unmeasured", None, at_most=1),
        ]
    )
    assert lines.splitlines() == [
        "slow         2  <= 1      MISSED",
        "good         2  >= 1      ok",
    ]
