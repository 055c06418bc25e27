"""What the README tells people to type is taken by the API."""

from __future__ import annotations

import json
import re
from pathlib import Path

from agent.api.conftest import Agent

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text("utf-8")


async def test_the_first_command_of_the_readme_is_taken(alice: Agent) -> None:
    [(path, body)] = re.findall(r'"\$json" \$api(\S+) -d \'(.+)\'', README)
    made = await alice.client.call("POST", path, json.loads(body))
    assert made["state"] == "await-response"


async def test_the_policy_that_is_shown_is_taken(alice: Agent) -> None:
    [body] = re.findall(r'\{"protocol": "[^`\']+\}', README)
    policy = await alice.client.call("PUT", "/v1/policies", json.loads(body))
    assert policy["auto"]
