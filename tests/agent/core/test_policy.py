"""Policies: off unless set, closest wins, and nonsense is refused when it is set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_protocol import TOY, Memory, SendOpen, Side, State, opened

from keep_agent.core.machine import Exchange
from keep_agent.core.policy import Automatic, Policies, Policy, parse_command
from keep_agent.errors import BadCommandError
from keep_agent.protocols import issue_credential_2, out_of_band
from keep_agent.store.rows import Commit

HEARD = Exchange(
    id="x", protocol=TOY.name, minor=2, role=Side.HOST, thid="t", peer="c", connection="c",
    data=Memory(), state=State.HEARD,
)  # fmt: skip
OPEN = {State.HEARD.value: Automatic(command="send-open")}


@pytest.fixture
def policies() -> Policies:
    return Policies({TOY.name: TOY})


def test_nothing_is_automatic_by_default(policies: Policies) -> None:
    assert policies.commands(HEARD) == ()


def test_a_policy_runs_its_command_in_its_state_alone(policies: Policies) -> None:
    policies.adopt(Policy(protocol=TOY.name, auto=OPEN))
    (then,) = policies.commands(HEARD)
    assert then.command == SendOpen()
    assert policies.commands(replace(HEARD, state=State.OPENED)) == ()
    assert policies.commands(replace(HEARD, role=Side.GUEST)) == ()


def test_a_connection_has_its_own_say(policies: Policies) -> None:
    policies.adopt(Policy(protocol=TOY.name, auto=OPEN))
    policies.adopt(Policy(protocol=TOY.name, connection="c", auto={}))
    assert policies.commands(HEARD) == ()
    assert policies.commands(replace(HEARD, connection="other")) != ()


async def test_policies_are_there_after_a_restart(policies: Policies, tmp_path: Path) -> None:
    async with opened(tmp_path / "agent.db") as store:
        profile = await store.profile("main")
        policy = Policy(protocol=TOY.name, connection="c", auto=OPEN)
        await profile.commit(Commit(writes=(policy.put(),)))
        await policies.load(profile)
    assert policies.all() == [policy]
    assert policies.commands(HEARD) != ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"protocol": "nonsense/1", "auto": {}}, "no protocol"),
        ({"protocol": TOY.name, "auto": {"heard": {"command": "sing"}}}, "has no command"),
        (
            {"protocol": TOY.name, "auto": {"opened": {"command": "send-open"}}},
            "not a command of the state",
        ),
        (
            {
                "protocol": TOY.name,
                "auto": {"heard": {"command": "send-open", "args": {"x": 1}}},
            },
            "send-open: x",
        ),
    ],
)
def test_a_policy_that_could_never_work_is_refused(
    policies: Policies, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadCommandError, match=words):
        policies.check(Policy.model_validate(fields))


def test_a_command_that_does_not_fit_is_told_in_words_without_its_values() -> None:
    with pytest.raises(BadCommandError) as refused:
        parse_command(TOY, "send-open", {"fail": ["secret"]})
    assert "fail" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_words_of_a_model_are_told_as_they_are_written() -> None:
    with pytest.raises(BadCommandError, match=r"one of: key, .*, or a public DID of ours"):
        parse_command(out_of_band.PROTOCOL, "create-invitation", {"did": "peer:2"})
    with pytest.raises(BadCommandError, match="ids must be 'qualified' or 'unqualified'"):
        parse_command(issue_credential_2.PROTOCOL, "send-offer", {"ids": "legacy"})


def test_sec_d_04_a_policy_names_a_connection_and_no_did(policies: Policies) -> None:
    with pytest.raises(BadCommandError, match="never a DID"):
        policies.check(Policy(protocol=TOY.name, connection="did:sov:x", auto=OPEN))
    policies.check(Policy(protocol=TOY.name, connection="c", auto=OPEN))
