"""The environment variables of the classic von-network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keep_network.errors import BadInputError
from keep_network.web.settings import Link, Settings

BASE = {"GENESIS_FILE": "genesis"}


def test_the_defaults_are_careful() -> None:
    made = Settings.load(BASE)
    assert (made.host, made.port, made.writes) == ("127.0.0.1", 9000, False)
    assert made.genesis_file == Path("genesis")
    assert (made.display, made.browse, made.seed) == (True, True, None)


def test_registering_takes_a_seed_and_the_word() -> None:
    seed = {"LEDGER_SEED": "secret"}
    assert not Settings.load(BASE | seed).writes
    assert not Settings.load(BASE | {"REGISTER_NEW_DIDS": "True"}).writes
    made = Settings.load(BASE | seed | {"REGISTER_NEW_DIDS": "True"})
    assert made.writes
    assert "secret" not in repr(made)


def test_everything_else_is_as_people_know_it() -> None:
    made = Settings.load(
        {
            "GENESIS_URL": "https://example.org/genesis",
            "GENESIS_FILE": "ignored",
            "PORT": "8000",
            "DISPLAY_LEDGER_STATE": "False",
            "LEDGER_CACHE_PATH": "/tmp/ledger.db",
            "MAX_FETCH": "10",
            "RESYNC_TIME": "120",
            "POOL_CONNECTION_DELAY": "5",
            "LEDGER_INSTANCE_NAME": "Mine",
            "LEDGER_DESCRIPTION": "For tests",
            "INFO_SITE_URL": "https://example.org",
            "INFO_SITE_TEXT": "About",
            "INDY_SCAN_URL": "javascript:alert(1)",
            "LOG_LEVEL": "info",
            "WEB_SERVER_NAMES": "Ledger, host.docker.internal,",
        }
    )
    assert made.genesis_file is None
    assert made.genesis_url == "https://example.org/genesis"
    assert (made.port, made.display, made.fetch, made.resync_s) == (8000, False, 10, 120)
    assert made.links == (Link("https://example.org", "About"),)
    assert made.names == {"ledger", "host.docker.internal"}
    assert (made.name, made.description, made.retry_s) == ("Mine", "For tests", 5)
    assert not Settings.load(BASE | {"ENABLE_LEDGER_CACHE": "false"}).display


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({}, "set GENESIS_FILE or GENESIS_URL to name the network"),
        ({"GENESIS_URL": "file:///etc/passwd"}, "GENESIS_URL must begin with"),
        (BASE | {"PORT": "http"}, "PORT is a number"),
        (BASE | {"PORT": "65536"}, "PORT is a number from 0 to 65535"),
        (BASE | {"REGISTER_NEW_DIDS": "maybe"}, "REGISTER_NEW_DIDS is True or False"),
        (BASE | {"LOG_LEVEL": "loud"}, "LOG_LEVEL is one of"),
        (BASE | {"REGISTER_TOKEN": "short"}, "REGISTER_TOKEN is 16 or more"),
        (BASE | {"WEB_SERVER_NAMES": "http://ledger"}, "WEB_SERVER_NAMES is host names"),
        (BASE | {"WEB_SERVER_NAMES": "ledger:8000"}, "WEB_SERVER_NAMES is host names"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(env: dict[str, str], why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        Settings.load(env)


def test_the_command_says_in_one_line_what_is_wrong() -> None:
    room = Path(__file__).parents[3] / "von-network"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(room)}
    for more, why in (
        ({}, "web: set GENESIS_FILE or GENESIS_URL to name the network"),
        (
            BASE | {"LEDGER_SEED": "x" * 33},
            "web: Seed must be between 0 and 32 characters long.",
        ),
    ):
        result = subprocess.run(
            [sys.executable, "-P", "-m", "keep_network.web"],
            env=env | more, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (result.returncode, result.stderr.strip()) == (2, why)
