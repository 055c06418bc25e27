"""Structured logging: one event per line, with named fields and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Literal

Format = Literal["text", "json"]
_ExcInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

MAX_VALUE = 200
"""How many characters of one field are logged; whole messages do not fit."""

REDACTED = "[redacted]"

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET = re.compile(
    r"seed|secret|passw|passphrase|private|_key$|^key$|^jwk$|token|authori[sz]ation|cookie"
    r"|body|packed|plaintext|payload|content$|values?$|attributes?$|credential$|presentation$",
    re.IGNORECASE,
)
_QUOTED_INPUT = re.compile(r"(input_value=).*?(, input_type=)", re.DOTALL)
_PUBLIC = frozenset({"public_key", "recipient_key", "sender_key", "verkey"})


def set_up(level: str, form: Format, stream: IO[str] | None = None) -> None:
    """Send all logging of this process to one stream (default stderr), once.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        form: `text` for people, `json` for programs: one object per line.
        stream: where to write; standard error where None.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines(form))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    sys.excepthook = _uncaught


class _Lines(logging.Formatter):
    """One line per record: time, level, logger, event, fields, and a traceback if there is one."""

    def __init__(self, form: Format) -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "event": _short(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info and record.exc_info[0]:
            line["traceback"] = _trace(record.exc_info)
        return json.dumps(line, ensure_ascii=True) if self._json else _text(line)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {
        name: REDACTED if _is_secret(name) else _plain(value)
        for name, value in vars(record).items()
        if name not in _STANDARD
    }


def _is_secret(name: str) -> bool:
    return name not in _PUBLIC and _SECRET.search(name) is not None


def _plain(value: object) -> object:
    """Keep numbers and short text; of bytes, keep only how many there are."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}... ({len(text)})"


def _text(line: dict[str, object]) -> str:
    parts = [str(line.pop("time")), f"{line.pop('level')!s:<7}", str(line.pop("logger"))]
    event, trace = line.pop("event"), line.pop("traceback", None)
    parts.append(json.dumps(event)[1:-1])  # escaped: a newline in a name cannot forge a line
    parts += [f"{name}={json.dumps(value)}" for name, value in line.items()]
    return " ".join(parts) if trace is None else f"{' '.join(parts)}\n{trace}"


def _trace(info: _ExcInfo) -> str:
    """Format a traceback: no locals, no input that pydantic quotes, each line indented."""
    whole = _QUOTED_INPUT.sub(rf"\1{REDACTED}\2", "".join(traceback.format_exception(*info)))
    return "\n".join(f"    {_short(line)}" for line in whole.rstrip().split("\n"))


def _uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("keep_agent").critical("uncaught", exc_info=(kind, error, trace))
