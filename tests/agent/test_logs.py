"""Logging: one event per line, and nothing that is nobody's business."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from keep_agent import logs

log = logging.getLogger("keep_agent.test")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root, hook = logging.getLogger(), sys.excepthook
    before, level = root.handlers[:], root.level
    root.handlers = []  # pytest's own must not be closed
    stream = io.StringIO()
    yield stream
    root.handlers, sys.excepthook = before, hook
    root.setLevel(level)


def test_json_is_one_object_per_line(out: io.StringIO) -> None:
    logs.set_up("INFO", "json", out)
    log.info("exchange moved", extra={"thid": "t-1", "to": "done", "size": 7})
    log.debug("not shown")
    line = json.loads(out.getvalue())
    assert (line["event"], line["thid"], line["size"]) == ("exchange moved", "t-1", 7)


def test_text_is_one_line_that_a_value_cannot_break(out: io.StringIO) -> None:
    logs.set_up("INFO", "text", out)
    log.info("x\ny", extra={"label": "a\nERROR forged"})
    assert out.getvalue().count("\n") == 1
    assert 'label="a\\nERROR forged"' in out.getvalue()


@pytest.mark.parametrize(
    "name",
    ["seed", "store_key", "passphrase", "body", "packed", "values", "admin_token", "key"],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_secret_fields_are_redacted(out: io.StringIO, name: str, form: logs.Format) -> None:
    logs.set_up("INFO", form, out)
    log.info("event", extra={name: "planted"})
    assert "planted" not in out.getvalue()
    assert logs.REDACTED in out.getvalue()


def test_long_values_are_cut_and_bytes_only_counted(out: io.StringIO) -> None:
    logs.set_up("INFO", "json", out)
    log.info("event", extra={"reason": "x" * 5000, "blob": b"planted", "verkey": "v"})
    line = json.loads(out.getvalue())
    assert len(line["reason"]) < 250
    assert (line["blob"], line["verkey"]) == ("7 bytes", "v")


class Person(BaseModel):
    age: int


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_locals_and_no_quoted_input(
    out: io.StringIO, form: logs.Format
) -> None:
    logs.set_up("INFO", form, out)
    animal = "sea" + "horse"
    try:
        Person.model_validate({"age": animal})
    except ValueError:
        log.exception("failed")
    assert "ValidationError" in out.getvalue()
    assert "seahorse" not in out.getvalue()


def test_what_nobody_catches_is_logged(out: io.StringIO) -> None:
    logs.set_up("INFO", "json", out)
    sys.excepthook(ZeroDivisionError, ZeroDivisionError("oops"), None)
    line = json.loads(out.getvalue())
    assert (line["level"], line["event"]) == ("CRITICAL", "uncaught")
    assert "ZeroDivisionError" in line["traceback"]
