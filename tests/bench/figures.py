"""What was measured, beside what it should be: as a table for people and one flat JSON object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One result.

    Attributes:
        key: its name in the JSON.
        about: what it is, with its unit.
        value: None: not measured in this form of the run.
        at_most, at_least: the target; None: there is none.
    """

    key: str
    about: str
    value: float | None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else ""

    @property
    def met(self) -> bool | None:
        """Whether it is reached; None where there is no target, or no value."""
        if self.value is None or not self.target:
            return None
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.at_least is not None and self.value >= self.at_least

    @property
    def verdict(self) -> str:
        """The same in a word."""
        return {None: "", True: "ok", False: "MISSED"}[self.met]


def table(figures: Sequence[Figure]) -> str:
    """Return one line for each figure that was measured."""
    rows = [
        (f.about, f"{f.value:.4g}", f.target, f.verdict) for f in figures if f.value is not None
    ]
    wide = max(len(row[0]) for row in rows)
    return "\n".join(
        f"{about:<{wide}}  {value:>8}  {target:<8}  {verdict}".rstrip()
        for about, value, target, verdict in rows
    )


def write_json(path: Path, figures: Sequence[Figure]) -> None:
    """Write the measured figures as one flat object."""
    flat = {f.key: round(f.value, 4) for f in figures if f.value is not None}
    path.write_text(json.dumps(flat, indent=1) + "\n", encoding="utf-8")
