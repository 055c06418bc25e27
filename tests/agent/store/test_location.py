"""Addresses of stores: what is read, what is refused, and what never shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from keep_agent.errors import BadCommandError
from keep_agent.settings import Settings
from keep_agent.store.location import Postgres, Sqlite, parse

PASSWORD = "p@ss/w:rd%?#& €"
QUOTED = "p%40ss%2Fw%3Ard%25%3F%23%26%20%E2%82%AC"
URL = f"postgresql://keeper:{QUOTED}@db.example:6543/agents?sslmode=verify-full"
ADMIN = "&admin_account=root&admin_password=other%20secret"


def postgres(url: str = URL) -> Postgres:
    found = parse(url)
    assert isinstance(found, Postgres)
    return found


def test_a_file_is_sqlite() -> None:
    assert parse("sqlite:///srv/agent.db") == Sqlite(Path("/srv/agent.db"))


def test_an_address_says_who_where_and_what() -> None:
    found = postgres()
    assert (found.host, found.port, found.database) == ("db.example", 6543, "agents")
    assert (found.user, found.password) == ("keeper", PASSWORD)
    assert postgres("postgres://u@h/d").port == 5432
    assert postgres("postgres://u@[::1]/d").host == "[::1]"


def test_askar_is_told_to_end_transactions_that_nobody_works_in() -> None:
    assert "idle_in_transaction_session_timeout%3D5000" in postgres().uri
    assert "max_connections=20" in postgres().uri
    assert "max_connections=8&" in postgres(f"{URL}&max_connections=8").uri + "&"


def test_an_administrator_makes_the_database_and_does_nothing_else() -> None:
    found = postgres(URL + ADMIN)
    assert found.admin_dsn.startswith("postgres://root:other%20secret@db.example:6543/postgres")
    assert "other" not in found.dsn
    assert postgres().admin_dsn.startswith("postgres://keeper:")


@pytest.mark.parametrize("shown", [str, repr])
def test_a_password_never_shows(shown: type) -> None:
    text = shown(postgres(URL + ADMIN))
    assert "keeper" in text
    assert not any(secret in text for secret in (PASSWORD, QUOTED, "other", "secret"))


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("mysql://keeper:hidden@db/agents", "must be sqlite://PATH or postgres://"),
        ("sqlite://", "must name a file"),
        ("sqlite://hidden?mode=ro", "must name a file"),
        ("postgres://keeper:hidden@/agents", "must be postgres://user:password"),
        ("postgres://:hidden@db/agents", "must be postgres://user:password"),
        ("postgres://keeper:hidden@db", "must be postgres://user:password"),
        ("postgres://keeper:hidden@db/a/b", "must be postgres://user:password"),
        ('postgres://keeper:hidden@db/a"b', "must be postgres://user:password"),
        ("postgres://keeper:hid#den@db/agents", "write : / ? # @ % in a password as %3A"),
        ("postgres://keeper:hid/den@db/agents", "write : / ? # @ % in a password as %3A"),
        ("postgres://keeper:hidden@db:many/agents", "must be postgres://user:password"),
        ("postgres://keeper@db/agents?password=hidden", "may have only these"),
        ("postgres://keeper@db/agents?options=hidden", "may have only these"),
        ("postgres://keeper@db/agents?max_connections=hidden", "must have a number"),
        ("postgres://keeper@db/agents?max_connections=7", "must have a number of at least 8"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_of_it_shown(uri: str, why: str) -> None:
    with pytest.raises(BadCommandError, match="STORE_URI") as caught:
        Settings.load({"INDYKEEP_STORE_URI": uri}, None)
    assert why in str(caught.value)
    assert "hid" not in str(caught.value)


def test_settings_do_not_show_it_either() -> None:
    settings = Settings.load({"INDYKEEP_STORE_URI": URL}, None)
    assert settings.store == postgres()
    assert "p%40ss" not in f"{settings!r} {settings} {settings.model_dump()}"
