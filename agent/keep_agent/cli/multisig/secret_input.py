"""Secrets from a private file or typed, never in a command line."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
import warnings
from pathlib import Path

import base58

from keep_agent.errors import BadCommandError

KEY_FILE = "INDYKEEP_KEY_FILE"
PIN_FILE = "INDYKEEP_PIN_FILE"
RAW_KEY_BYTES = 32
_OTHERS = 0o077
_MOST = 4096


def ask(question: str, instead: str) -> str:
    """Ask for a secret at the terminal, without showing it.

    Args:
        instead: how to give it without a terminal.

    Raises:
        BadCommandError: there is no terminal, or nothing was typed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            text = getpass.getpass(question)
        except (getpass.GetPassWarning, EOFError, OSError) as error:
            raise BadCommandError(
                f"there is no terminal to ask for it ({question.strip(' :')}); {instead}"
            ) from error
    if not text:
        raise BadCommandError("nothing was typed")
    return text


def ask_twice(question: str, instead: str) -> str:
    """Ask for a new secret, twice.

    Raises:
        BadCommandError: as for `ask`, or the two differ.
    """
    text = ask(question, instead)
    if ask("Repeat it: ", instead) != text:
        raise BadCommandError("the two differ; nothing was done")
    return text


def private_text(path: Path, what: str) -> str:
    """Read a file that holds a secret.

    Raises:
        BadCommandError: it cannot be read, is too large, is not text, or is open to others.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MOST + 1)
    except OSError as error:
        raise BadCommandError(f"{what} {path}: {error.strerror}") from error
    if mode & _OTHERS:
        raise BadCommandError(
            f"{what} {path} is open to other users of this machine: chmod 600 {path}"
        )
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError as error:
        raise BadCommandError(f"{what} {path} is not text") from error
    if not text or len(raw) > _MOST:
        raise BadCommandError(f"{what} {path} is empty or too large")
    return text


def raw_key(path: Path) -> str:
    """Read the raw key of a store: 32 bytes in base58, as agents store it.

    Raises:
        BadCommandError: as for `private_text`, or it is not a key.
    """
    text = private_text(path, "key file")
    try:
        fits = len(base58.b58decode(text)) == RAW_KEY_BYTES
    except ValueError:
        fits = False
    if not fits:
        raise BadCommandError(f"key file {path} is not a key (32 bytes in base58)")
    return text


def new_raw_key() -> str:
    """Draw a raw key for a store."""
    return base58.b58encode(secrets.token_bytes(RAW_KEY_BYTES)).decode()


def seed(path: Path | None) -> bytes:
    """Read the seed of a key from a file, or from standard input.

    It is 64 hex digits, base64 (44 characters), or 32 plain characters, as for Indy's tools.

    Raises:
        BadCommandError: as for `private_text`, or it is not a seed.
    """
    if path is not None:
        text = private_text(path, "seed file")
    elif sys.stdin.isatty():
        text = ask("Seed: ", "pipe it in, or use --seed-file")
    else:
        text = sys.stdin.readline(_MOST).strip()
    found = _seed(text)
    if found is None:
        raise BadCommandError(
            "this is not a seed: a seed has 64 hex digits, 44 characters of base64, or 32 plain characters"
        )
    return found


def _seed(text: str) -> bytes | None:
    import base64  # noqa: PLC0415
    import binascii  # noqa: PLC0415

    try:
        if len(text) == 2 * RAW_KEY_BYTES:
            return bytes.fromhex(text)
        raw = base64.b64decode(text, validate=True) if text.endswith("=") else text.encode()
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == RAW_KEY_BYTES else None
