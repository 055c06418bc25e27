"""What the README and docs/by-hand.md tell people to type is taken by the API."""

from __future__ import annotations

import json
import re
from pathlib import Path

from agent.api.conftest import Agent

ROOT = Path(__file__).parents[3]
BY_HAND = (ROOT / "docs" / "by-hand.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


async def test_the_first_command_of_the_readme_is_taken(alice: Agent) -> None:
    [(path, body)] = re.findall(r'"\$json" \$api(\S+) -d \'(.+)\'', README)
    made = await alice.client.call("POST", path, json.loads(body))
    assert made["state"] == "await-response"


async def test_the_policies_that_are_shown_are_taken(alice: Agent) -> None:
    shown = re.findall(r'\{"protocol": "[^`\']+\}', README + BY_HAND)
    assert len(shown) == 2
    for body in shown:
        policy = await alice.client.call("PUT", "/v1/policies", json.loads(body))
        assert policy["auto"]


async def test_each_path_that_is_shown_is_there(alice: Agent) -> None:
    index = await alice.client.call("GET", "/v1")
    families = await alice.client.call("GET", "/v1/protocols")
    there = {path.split("/")[2] for path in index if path.count("/") > 1} | set(families)
    shown = re.findall(r'(?:^|\$\()(?:office|alice) "?([a-z-]+)', BY_HAND, re.MULTILINE)
    assert len(shown) > 20
    assert set(shown) <= there
