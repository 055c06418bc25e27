"""Keys in tokens: SoftHSM2 in a folder of its own; addresses, PINs, and tokens that go away."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from agent.cli.multisig.airgap import can_seal, run_sealed
from agent.cli.multisig.run_command import done, refused

from keep_agent.cli.multisig.pkcs11_tokens import Address
from keep_agent.cli.multisig.signing_keys import open_share, open_signer
from keep_agent.errors import BadCommandError, UnavailableError
from keep_ledger.multisig.signatures import verifies

LIBRARY = next(
    (
        place
        for place in (
            Path("/usr/lib/softhsm/libsofthsm2.so"),
            Path("/usr/lib64/softhsm/libsofthsm2.so"),
            Path("/usr/local/lib/softhsm/libsofthsm2.so"),
        )
        if place.exists()
    ),
    None,
)
needs_token = pytest.mark.skipif(
    LIBRARY is None or shutil.which("softhsm2-util") is None,
    reason="SoftHSM2 is not on this machine (apt install softhsm2)",
)
MODULE = f"?module-path={LIBRARY}"
ANA = f"pkcs11:token=board;object=ana{MODULE}"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A token `board` with PIN 4321; gives its folder. The library is let go afterwards."""
    import pkcs11  # noqa: PLC0415

    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(
        f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    (tmp_path / "pin").write_text("4321\n")
    (tmp_path / "pin").chmod(0o600)
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("INDYKEEP_PIN_FILE", str(tmp_path / "pin"))
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "board",
         "--so-pin", "12345678", "--pin", "4321"],
        check=True, capture_output=True,
    )  # fmt: skip
    yield tmp_path
    pkcs11.unload(str(LIBRARY))


@needs_token
def test_a_key_made_in_a_token_signs_and_cannot_be_read_out(token: Path) -> None:
    import pkcs11  # noqa: PLC0415

    made = done("key", "new", ANA)
    assert (
        done("key", "show", ANA) == made == done("key", "list", f"pkcs11:token=board{MODULE}")
    )
    with open_signer(ANA) as signer:
        assert verifies(signer.verkey, b"message", signer.sign(b"message"))
        assert verifies(signer.verkey, b"other", signer.sign(b"other"))
    found = pkcs11.lib(str(LIBRARY)).get_token(token_label="board")
    with found.open(user_pin="4321") as session:
        private = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label="ana")
        assert private[pkcs11.Attribute.SENSITIVE]
        assert private[pkcs11.Attribute.NEVER_EXTRACTABLE]
        with pytest.raises(pkcs11.AttributeSensitive):
            _ = private[pkcs11.Attribute.VALUE]


@needs_token
def test_names_that_are_taken_missing_or_of_another_kind_are_told(token: Path) -> None:
    import pkcs11  # noqa: PLC0415

    done("key", "new", ANA)
    assert "already" in refused("key", "new", ANA)
    assert "no key 'bo'" in refused("key", "show", ANA.replace("ana", "bo"))
    assert "there: 'board'" in refused("key", "show", ANA.replace("board", "desk"))
    assert "was outside" in refused("key", "import", ANA)
    found = pkcs11.lib(str(LIBRARY)).get_token(token_label="board")
    with found.open(rw=True, user_pin="4321") as session:
        session.generate_keypair(pkcs11.KeyType.RSA, 1024, label="rsa", store=True)
    assert "is not an Ed25519 key" in refused("key", "show", ANA.replace("ana", "rsa"))
    assert "rsa" not in done("key", "list", f"pkcs11:token=board{MODULE}")


@needs_token
def test_a_wrong_pin_signs_nothing_and_says_that_they_are_counted(token: Path) -> None:
    done("key", "new", ANA)
    (token / "wrong").write_text("9999")
    (token / "wrong").chmod(0o600)
    wrong = f"{ANA}&pin-source=file:{token}/wrong"
    with pytest.raises(UnavailableError, match=r"PIN is wrong .* locks after a few more"):
        open_signer(wrong).__enter__()
    with open_signer(ANA) as signer:
        signer.sign(b"the right one still opens it")


@needs_token
def test_a_token_that_is_pulled_while_it_signs_loses_nothing(token: Path) -> None:
    done("key", "new", ANA)
    with open_signer(ANA) as signer:
        first = signer.sign(b"message")
        (token / "tokens").rename(token / "pulled")
        with pytest.raises(UnavailableError, match="it was removed"):
            signer.sign(b"message")
        (token / "pulled").rename(token / "tokens")
    with open_signer(ANA) as signer:
        assert signer.sign(b"message") == first


@needs_token
def test_a_pin_is_asked_for_or_read_from_a_private_file_only(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("key", "new", ANA)
    (token / "pin").chmod(0o644)
    with pytest.raises(BadCommandError, match="chmod 600"):
        open_signer(ANA).__enter__()
    monkeypatch.delenv("INDYKEEP_PIN_FILE")
    told = subprocess.run(
        [sys.executable, "-m", "keep_agent", "key", "new", ANA.replace("ana", "bo")],
        capture_output=True, text=True, check=False, start_new_session=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert told.returncode == 2
    assert "pin-source" in told.stderr


@needs_token
@pytest.mark.skipif(not can_seal(), reason="this machine cannot seal a process (seccomp)")
def test_a_software_token_needs_no_socket(token: Path) -> None:
    assert run_sealed("key", "new", ANA, report=token / "report").code == 0
    assert run_sealed("key", "show", ANA, report=token / "report").code == 0


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("pkcs11:token=a;object=b", "library is not named"),
        ("pkcs11:object=b?module-path=/m", "no token"),
        ("pkcs11:token=a;token=a?module-path=/m", "twice"),
        ("pkcs11:token=a;colour=b?module-path=/m", "not supported here"),
        ("pkcs11:token?module-path=/m", "not supported here"),
        ("pkcs11:token=a b?module-path=/m", "%XX"),
        ("pkcs11:token=a%2?module-path=/m", "%XX"),
        ("pkcs11:token=%ff?module-path=/m", "UTF-8"),
        ("pkcs11:token=a;type=public?module-path=/m", "private"),
        ("pkcs11:token=a?module-path=/m&pin-value=1234", "visible to everybody"),
        ("pkcs11:token=a?module-path=/m&pin-source=|cat%20/pin", "must be a file"),
        ("pkcs12:token=a", "does not begin"),
    ],
)
def test_an_address_is_read_strictly(address: str, why: str) -> None:
    with pytest.raises(BadCommandError, match=why):
        Address.parse(address)


def test_an_address_is_read_as_rfc_7512_writes_it() -> None:
    """After the examples of RFC 7512 section 3."""
    found = Address.parse(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;object=my-key;id=%69%95%3E;"
        "type=private;serial=123?module-path=/lib/a%20b.so&pin-source=file:///etc/token_pin"
    )
    assert found.token == "The Software PKCS#11 Softtoken"
    assert (found.label, found.id, found.serial) == ("my-key", b"i\x95>", b"123")
    assert found.module == Path("/lib/a b.so")
    assert found.pin_file == Path("/etc/token_pin")


def test_a_module_that_is_not_there_or_no_module_is_told(tmp_path: Path) -> None:
    where = "pkcs11:token=a;object=b?module-path="
    assert "no PKCS#11 module" in refused("key", "show", f"{where}{tmp_path}/none.so")
    (tmp_path / "text.so").write_text("text")
    assert "does not work" in refused("key", "show", f"{where}{tmp_path}/text.so")


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("file:key", "not the address of a key"),
        ("frost:x", "only together with others"),
        ("store:x.db", "names no key"),
    ],
)
def test_what_is_no_signer_is_refused(where: str, why: str) -> None:
    with pytest.raises(BadCommandError, match=why):
        open_signer(where).__enter__()


def test_a_share_is_found_in_its_private_folder_only(tmp_path: Path) -> None:
    with pytest.raises(BadCommandError, match="is not a share"):
        open_share("store:x")
    with pytest.raises(BadCommandError, match="no folder"):
        open_share(f"frost:{tmp_path}/none")
    tmp_path.chmod(0o755)
    with pytest.raises(BadCommandError, match="chmod 700"):
        open_share(f"frost:{tmp_path}")
