"""Settings: what an operator says, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import base58
import pytest
from pydantic import SecretStr, ValidationError

from keep_agent.errors import BadCommandError
from keep_agent.settings import Settings, explained, open_keys

RAW = base58.b58encode(bytes(range(32))).decode()


def mistake(env: dict[str, str], toml: Path | None = None) -> str:
    with pytest.raises(BadCommandError) as caught:
        Settings.load(env, toml)
    return str(caught.value)


def test_nothing_given_is_enough() -> None:
    settings = Settings.load({"PATH": "/bin"}, None)
    assert str(settings.store) == f"sqlite://{Path.cwd()}/indykeep-data/agent.db"
    assert settings.public_endpoint(8020) == "http://127.0.0.1:8020"


def test_every_setting_says_what_it_is() -> None:
    assert [
        name for name, field in Settings.model_fields.items() if not field.description
    ] == []


def test_the_explanation_names_choices_limits_and_what_a_ledger_is() -> None:
    words = explained()
    for words_of in (
        "INDYKEEP_PORT = 8020\n    Port of the DIDComm server; 0 takes a free one. It must be 0..",
        "It must be one of text, json.",
        "      genesis: Genesis transactions: a file or an http(s) URL",
    ):
        assert words_of in words


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keep.toml"
    file.write_text(
        'label = "file"\nport = 1\n[[ledgers]]\nplugin = "indy"\nnamespace = "local"\n'
        'genesis = "genesis.txn"\n'
    )
    settings = Settings.load({"INDYKEEP_LABEL": "env"}, file)
    assert (settings.label, settings.port) == ("env", 1)
    assert settings.ledgers[0].namespace == "local"


def test_ledgers_come_as_json_in_the_environment() -> None:
    env = {"INDYKEEP_LEDGERS": '[{"plugin": "memory", "namespace": "test"}]'}
    assert Settings.load(env, None).ledgers[0].plugin == "memory"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "abc", "INDYKEEP_PORT: must be 0..65535, is 'abc'"),
        ("PORT", "65536", "INDYKEEP_PORT: must be 0..65535, is '65536'"),
        ("PROT", "1", "INDYKEEP_PROT: no such setting; did you mean INDYKEEP_PORT?"),
        ("XYZZYX", "1", "INDYKEEP_XYZZYX: no such setting"),
        ("LOG_LEVEL", "loud", "must be one of DEBUG, INFO, WARNING, ERROR, is 'loud'"),
        ("SEND_TIMEOUT_S", "5", "INDYKEEP_SEND_TIMEOUT_S: must be greater than 10, is '5'"),
        ("LEDGERS", "local", 'INDYKEEP_LEDGERS: must be a list, as [{"plugin": "indy", '),
        ("LEDGERS", "{}", "INDYKEEP_LEDGERS: must be a list, as "),
        ("LEDGERS", "[{}]", "INDYKEEP_LEDGERS.0.plugin: Field required"),
        ("ENDPOINT", "ftp://x", "INDYKEEP_ENDPOINT: must match"),
        ("ADMIN_HOST", "0.0.0.0", "admin_host must be loopback unless allow_remote_admin"),
    ],
)
def test_a_mistake_is_told_in_words(name: str, value: str, words: str) -> None:
    assert words in mistake({f"INDYKEEP_{name}": value})


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "keep.toml"
    file.write_text('[[ledgers]]\nplugin = "indy"\nnamespace = "a"\ngenesys = "x"\n')
    words = mistake({"INDYKEEP_PORT": "x"}, file)
    assert "ledgers.0.genesys: no such setting; did you mean genesis?" in words
    assert "INDYKEEP_PORT" in words


def test_a_file_that_is_no_toml_is_told_by_name(tmp_path: Path) -> None:
    file = tmp_path / "keep.toml"
    file.write_text("port 1")
    assert str(file) in mistake({}, file)
    assert "nowhere.toml" in mistake({}, tmp_path / "nowhere.toml")


def test_a_namespace_is_named_once() -> None:
    one = '{"plugin": "memory", "namespace": "a"}'
    assert "each namespace once" in mistake({"INDYKEEP_LEDGERS": f"[{one},{one}]"})


def test_sec_w_secrets_are_in_no_repr_and_no_mistake() -> None:
    settings = Settings.load(
        {"INDYKEEP_STORE_KEY": RAW, "INDYKEEP_ADMIN_KEY": "hush-hush-hush-hush"}, None
    )
    assert RAW not in repr(settings) + str(settings) + settings.model_dump_json()
    assert "hush" not in repr(settings) + str(open_keys(settings))
    words = mistake(
        {"INDYKEEP_STORE_KEY": "hush", "INDYKEEP_ADMIN_KEY": "hush", "INDYKEEP_PORT": "x"}
    )
    assert "hush" not in words
    assert "INDYKEEP_STORE_KEY: must be 32 bytes in base58" in words


def test_remote_admin_must_be_asked_for() -> None:
    env = {"INDYKEEP_ADMIN_HOST": "0.0.0.0", "INDYKEEP_ALLOW_REMOTE_ADMIN": "true"}
    assert Settings.load(env, None).allow_remote_admin


def test_keys_are_made_once_for_us_alone_and_said_so(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    first, second = open_keys(settings), open_keys(settings)
    assert [path.name for path in first.made] == ["store.key", "admin.key"]
    assert second.made == ()
    assert (first.store, first.admin) == (second.store, second.admin)
    assert {path.stat().st_mode & 0o777 for path in first.made} == {0o600}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert len(base58.b58decode(first.store.get_secret_value())) == 32


def test_a_store_without_its_key_gets_no_new_key(tmp_path: Path) -> None:
    (tmp_path / "agent.db").touch()
    with pytest.raises(BadCommandError, match="its key file does not"):
        open_keys(Settings(data_dir=tmp_path))
    assert not (tmp_path / "store.key").exists()


def test_a_store_that_may_be_shared_gets_no_new_key(tmp_path: Path) -> None:
    """Each process would make one of its own, and the second could not open what the first made."""
    settings = Settings(data_dir=tmp_path, store_uri=SecretStr("postgres://u:hush@db/x"))
    with pytest.raises(BadCommandError, match="name it with store_key_file") as caught:
        open_keys(settings)
    assert "hush" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "store.key").write_text(RAW)
    assert open_keys(settings).store.get_secret_value() == RAW


def test_a_given_key_file_is_read_and_never_made(tmp_path: Path) -> None:
    file = tmp_path / "given"
    settings = Settings(data_dir=tmp_path, store_key_file=file)
    with pytest.raises(BadCommandError, match="No such file"):
        open_keys(settings)
    file.write_text(f" {RAW}\n")
    assert open_keys(settings).store.get_secret_value() == RAW
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadCommandError, match="32 bytes"):
        open_keys(settings)


def test_a_key_is_given_one_way() -> None:
    env = {"INDYKEEP_STORE_KEY": RAW, "INDYKEEP_STORE_KEY_FILE": "/x"}
    assert "exclude each other" in mistake(env)


def test_variables_of_the_checkout_are_no_settings() -> None:
    env = {"INDYKEEP_NODE_VENV": "x", "INDYKEEP_PYTHON": "y", "INDYKEEP_OFFLINE": "1"}
    assert Settings.load(env, None) == Settings()
