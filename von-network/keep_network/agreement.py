"""The author agreement (TAA) and the ways to accept it (AML): read from files, and accepted."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keep_network.errors import BadInputError
from keep_network.json_shape import Json, is_object

AML_FILE, TAA_FILE = "AML_CONFIG_FILE", "TAA_CONFIG_FILE"
AML_TYPE, TAA_TYPE, GET_TAA, GET_AML = "5", "4", "6", "7"
FILE_BYTES = 1 << 20
_DAY_S = 86400


def read_aml(path: Path) -> Json:
    """Return the operation that writes the ways to accept: `{version, aml: {name: words}, context?}`.

    Raises:
        BadInputError: it names the file and what is wrong with it.
    """
    told = _read(AML_FILE, path)
    ways = told.get("aml")
    if not is_object(ways) or not ways:
        raise _wrong(AML_FILE, path, "aml is an object with at least one acceptance mechanism")
    operation: Json = {
        "type": AML_TYPE,
        "version": _text(AML_FILE, path, told, "version"),
        "aml": ways,
    }
    context = told.get("context", told.get("amlContext"))
    if context is not None and not isinstance(context, str):
        raise _wrong(AML_FILE, path, "context is a text")
    return operation | ({"amlContext": context} if context else {})


def read_taa(path: Path) -> Json:
    """Return the operation that writes the agreement: `{version, text, ratification_ts?}`.

    `ratification_ts` is in seconds since the epoch; the nodes want one, so it is now if absent.

    Raises:
        BadInputError: it names the file and what is wrong with it.
    """
    told = _read(TAA_FILE, path)
    ratified = told.get("ratification_ts", int(time.time()))
    if not isinstance(ratified, int) or isinstance(ratified, bool) or ratified < 0:
        raise _wrong(TAA_FILE, path, "ratification_ts is a number of seconds since 1970")
    return {
        "type": TAA_TYPE,
        "version": _text(TAA_FILE, path, told, "version"),
        "text": _text(TAA_FILE, path, told, "text"),
        "ratification_ts": ratified,
    }


def acceptance(agreement: Mapping[str, Any], ways: Mapping[str, Any]) -> Json | None:
    """Return what a request has to say to accept an agreement; None if there is none.

    Args:
        agreement: `data` of the answer to GET_TAA, empty if there is none.
        ways: `aml` of the answer to GET_AML.
    """
    if not ways or not (agreement.get("text") or agreement.get("digest")):
        return None
    whole = f"{agreement.get('version', '')}{agreement.get('text', '')}"
    digest = agreement.get("digest") or hashlib.sha256(whole.encode()).hexdigest()
    today = int(time.time()) // _DAY_S * _DAY_S
    return {"taaDigest": digest, "mechanism": min(ways), "time": today}


def _read(variable: str, path: Path) -> Json:
    try:
        data = path.read_bytes()[: FILE_BYTES + 1]
        told: Any = json.loads(data) if len(data) <= FILE_BYTES else None
    except OSError as error:
        raise _wrong(variable, path, f"it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _wrong(variable, path, f"it is not JSON: {error}") from error
    if not is_object(told):
        raise _wrong(variable, path, "it must be a JSON object of at most 1 MB")
    return told


def _text(variable: str, path: Path, told: Json, name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not value:
        raise _wrong(variable, path, f"{name} must be a text")
    return value


def _wrong(variable: str, path: Path, why: str) -> BadInputError:
    return BadInputError(f"{variable}: {path}: {why}")
