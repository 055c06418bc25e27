"""Over HTTP: the path names the tenant, and tells a stranger nothing about those that there are."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from agent.api.conftest import agent
from agent.tenants.house import befriend, until

WIRE = {"Content-Type": "application/ssi-agent-wire"}


async def post(url: str, body: bytes) -> tuple[int, str, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=WIRE) as reply,
    ):
        headers = {k: v for k, v in reply.headers.items() if k != "Date"}
        return reply.status, await reply.text(), headers


async def test_each_tenant_has_a_path_and_takes_only_what_is_sealed_for_it(
    tmp_path: Path,
) -> None:
    async with agent(tmp_path) as alice:
        tenants = alice.running.tenants
        main = alice.running.endpoint
        base = main.removesuffix("/d/main")
        one, other = [(await tenants.make(label)).id for label in ("one", "other")]
        async with tenants.use(one) as tenant:
            friend = await befriend(tenant, endpoint=main)
            assert tenant.endpoint == f"{base}/d/{one}"
        assert (await post(f"{base}/d/{one}", friend.ping()))[0] == 202
        for path in (f"{base}/d/{other}", main):
            assert (await post(path, friend.ping()))[0] == 400
        await until(lambda: tenants.open[one].outbox.waiting == 0)


@pytest.mark.parametrize("job", ["suspend", "delete"])
async def test_sec_w_what_is_not_active_looks_as_if_it_had_never_been(
    tmp_path: Path, job: str
) -> None:
    async with agent(tmp_path) as alice:
        tenants = alice.running.tenants
        base = alice.running.endpoint.removesuffix("/d/main")
        name = (await tenants.make("one")).id
        async with tenants.use(name) as tenant:
            friend = await befriend(tenant)
        await getattr(tenants, job)(name)
        never = await post(f"{base}/d/{name[::-1]}", friend.ping())
        assert never[0] == 404
        assert await post(f"{base}/d/{name}", friend.ping()) == never


async def test_the_admin_api_and_its_readiness_speak_of_main(tmp_path: Path) -> None:
    async with agent(tmp_path) as alice:
        name = (await alice.running.tenants.make("one")).id
        async with alice.running.tenants.use(name):
            assert (await alice.client.status())["tenant"] == "main"
