"""Read a recovery plan from options or from a small YAML file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from keep_agent.cli.multisig.input_files import read_text
from keep_agent.errors import BadCommandError
from keep_ledger.multisig.recovery.slip39 import Plan
from keep_ledger.multisig.threshold.shares import reason


def from_flags(circles: Sequence[str], need: int | None) -> Plan:
    """Read `me=Ana` and `family=2:Bo,Cy,Di`.

    Raises:
        BadCommandError: it cannot be read, or the plan is not possible.
    """
    if not circles:
        raise BadCommandError(
            "name those who get shares: --circle family=2:Ana,Bo,Cy, or --plan FILE"
        )
    if need is None and len(circles) > 1:
        raise BadCommandError(
            f"say how many of the {len(circles)} circles are needed: --need N"
        )
    return _plan({"need": need or 1, "circles": [_circle(text) for text in circles]})


def from_file(path: Path) -> Plan:
    """Read a plan in YAML: `need`, and `circles` of `name`, `need` and `guardians`.

    Raises:
        BadCommandError: it cannot be read, or the plan is not possible.
    """
    import yaml  # noqa: PLC0415

    try:
        return _plan(yaml.safe_load(read_text(path)))
    except yaml.YAMLError as error:
        raise BadCommandError(f"{path} is not readable YAML") from error


def _circle(text: str) -> dict[str, object]:
    name, equals, rest = text.partition("=")
    count, colon, names = rest.partition(":")
    if not colon:
        count, names = "1", rest
    if not equals or not count.isdecimal():
        raise BadCommandError(
            f"{text!r} is not a circle: write NAME=PERSON, or NAME=2:PERSON,PERSON,PERSON"
        )
    guardians = [each.strip() for each in names.split(",")]
    return {"name": name.strip(), "need": int(count), "guardians": guardians}


def _plan(body: object) -> Plan:
    """Read it as JSON, where a tuple is read from a list."""
    try:
        return Plan.model_validate_json(json.dumps(body))
    except ValidationError as error:
        raise BadCommandError(f"this plan is not possible: {reason(error)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise BadCommandError(
            "this plan is not possible: it has values other than text and numbers"
        ) from error
