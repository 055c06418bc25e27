from __future__ import annotations

from pathlib import Path

from bench.tenants import cost_of_tenants


async def test_a_tenant_that_has_answered_costs_less_than_its_share(tmp_path: Path) -> None:
    """50 MiB for 200 are 256 KiB for each; what all share grows a little as well."""
    cost = await cost_of_tenants(tmp_path, 41)
    assert cost < 40 * 0.25
