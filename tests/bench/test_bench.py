from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench.against import ENVIRONMENT, against
from bench.figures import Figure, table
from bench.main import QUICK, figures, measure
from pool import Network

import network_and_agents


@pytest.mark.pool
async def test_the_bench_loses_nothing_and_measures_all_that_it_promises(
    tmp_path: Path, network: Network
) -> None:
    pool = network_and_agents.Network(network.folder, network.genesis, {})
    results = await measure(QUICK, tmp_path, pool)
    assert results.other["lost"] == 0, results.errors
    found = {f.key: f.value for f in figures(results)}
    promised = (
        "credential_cpu_ratio presentation_cpu_ratio credentials_per_s presentations_per_s"
    )
    promised += " messages_per_s message_cpu_ms connection_cpu_ms cold_start_cpu_s idle_rss_mb"
    promised += " transactions_per_credential rows_per_credential transactions_per_presentation"
    promised += " rows_per_presentation transactions_per_message rows_per_message"
    promised += " transactions_per_connection rows_per_connection start_100k_cpu_s page_100k_ms"
    promised += " tenants_200_mb presentation_both_by_mode verify_ratio verify_cold_ratio"
    promised += " verifier_rate_ratio request_ratio table_make_ms table_mb tables_500_mb"
    for key in (*promised.split(), "loop_stall_ms"):
        value = found[key]
        assert value is not None, key
        assert value > 0, key


async def test_messages_alone_are_measured_without_a_network(tmp_path: Path) -> None:
    results = await measure(QUICK, tmp_path, only=["messages"])
    assert results.other["messages_per_s"] > 0
    assert "connection_cpu_ms" not in results.other


async def test_a_checkout_costs_about_as_much_as_itself(tmp_path: Path) -> None:
    older = tmp_path / "older"
    (older / ENVIRONMENT).parent.mkdir(parents=True)
    (older / ENVIRONMENT).symlink_to(sys.prefix)
    found, errors = await against(tmp_path, older, 1, said=40, met=4)
    assert not errors
    ratio = {f.key: f.value for f in found}["message_cpu_by_old"]
    assert ratio is not None
    assert 0.4 < ratio < 2.5


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
