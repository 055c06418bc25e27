"""SEC-P37: a proof on which our equations and the library differ is refused, and somebody hears of it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from wallets import ALICE, LICENCE_INDY, Tenant, issue, tenants

from keep_agent.app import running
from keep_agent.core.message import Json
from keep_agent.credentials.verification import Verification
from keep_agent.errors import BadCommandError
from keep_agent.protocols.present_proof_2 import Asked
from keep_agent.settings import Settings
from keep_zkp import verifier
from keep_zkp.voices import Voices

REQUEST: Json = {
    "requested_attributes": {
        "name": {"name": "name", "restrictions": [{"cred_def_id": LICENCE_INDY}]}
    },
    "requested_predicates": {},
}


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[tuple[Tenant, Tenant]]:
    """Alice with a licence, and a bar."""
    async with tenants(tmp_path, "office", "alice", "bar") as (office, alice, bar):
        await issue(office, alice, "licence", ALICE)
        yield alice, bar


async def verified(alice: Tenant, bar: Tenant) -> Any:
    """Let the bar ask, and judge Alice's honest answer."""
    asked: Asked = await bar.proofs.ask(REQUEST, "anoncreds", None, accept_any_issuer=False)
    proof = await alice.proofs.present(asked.request, "anoncreds", {}, {})
    meant = asked.meant or asked.request
    return await bar.proofs.verify(meant, proof, accept_any_issuer=False)


def refuse(*_: object, **__: object) -> bool:
    """Stand for a check that refuses every proof."""
    return False


def draw_nothing(_: int) -> int:
    """Stand for a draw that gives 0."""
    return 0


def voices(tenant: Tenant) -> Voices:
    return tenant.verification.voices


async def test_sec_p37_a_disagreement_is_refused_told_and_outlives_a_restart(
    town: tuple[Tenant, Tenant],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alice, bar = town
    voices(bar).mode = "sampled"
    assert (await verified(alice, bar)).ok
    newest = bar.profile.last_event
    with monkeypatch.context() as patch:
        patch.setattr(verifier, "_library_agrees", refuse)
        verdict = await verified(alice, bar)
    assert not verdict.ok
    assert "SEC-P37" in verdict.why
    assert bar.verification.status() | {"table_bytes": 0} == {
        "mode": "sampled",
        "in_force": "both",
        "disagreements": 1,
        "table_bytes": 0,
    }
    (event,) = await bar.profile.events(newest, 9)
    assert event["type"] == "verification"
    assert event["state"] == "disagreement"
    assert event["cred_def_ids"] == [LICENCE_INDY]
    (line,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert line.__dict__["rule"] == "SEC-P37"
    assert ALICE["name"] not in str(line.__dict__)

    after_restart = Verification(bar.profile, Voices("sampled"))
    await after_restart.load()
    assert after_restart.voices.in_force == "both"
    await Verification(
        bar.profile, voices(bar)
    ).load()  # the tenant was closed and is opened again
    assert (await verified(alice, bar)).ok  # both agree again; still both are asked
    assert voices(bar).in_force == "both"

    assert (await bar.verification.trust())["in_force"] == "sampled"
    after_restart = Verification(bar.profile, Voices("sampled"))
    await after_restart.load()
    assert after_restart.voices.in_force == "sampled"


async def test_sec_p37_what_our_equations_alone_refuse_is_told_too(
    town: tuple[Tenant, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bar = town
    voices(bar).mode = "sampled"
    monkeypatch.setattr(voices(bar).equations, "hold", refuse)
    monkeypatch.setattr(secrets, "randbelow", draw_nothing)  # so this one is a sample
    assert "SEC-P37" in (await verified(alice, bar)).why
    assert voices(bar).disagreements == 1
    assert (
        "SEC-P29" in (await verified(alice, bar)).why
    )  # mode both: refused, nobody else is asked
    assert voices(bar).disagreements == 1


async def test_sec_p37_no_tenant_trusts_for_another(
    town: tuple[Tenant, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one who knows a fault in our equations could bring `sampled` back for those whom it deceives."""
    alice, bar = town
    voices(bar).mode = "sampled"
    other = Verification(alice.profile, voices(bar))  # of another tenant of the process
    monkeypatch.setattr(verifier, "_library_agrees", refuse)
    assert not (await verified(alice, bar)).ok
    assert (await other.trust())["in_force"] == "both"
    assert (await bar.verification.trust())["in_force"] == "sampled"


async def test_a_mode_that_needs_gmpy2_is_refused_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keep_zkp.equations", None)  # as if gmpy2 were missing
    assert Voices("both").in_force == "library"
    settings = Settings(data_dir=tmp_path, port=0, admin_port=0, verify="sampled")

    def no_api(*_: Any) -> Any:
        raise AssertionError("it began")

    with pytest.raises(BadCommandError, match=r"indykeep\[fast\]"):
        async with running(settings, no_api):
            pytest.fail("it runs")
