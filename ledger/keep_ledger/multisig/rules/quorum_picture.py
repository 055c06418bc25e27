"""Effective quorums as a picture: a row for each action, with as many people as it takes.

A self-contained SVG: text is text, it follows the reader's light or dark theme, and it has a title and a
description for screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from keep_ledger.multisig.rules.lints import takeover
from keep_ledger.multisig.rules.quorum import Quorum, Quorums

_WIDTH, _ROW, _HEAD, _TOPIC = 1000, 46, 118, 40
_PEOPLE_AT, _MOST_SHOWN = 600, 9
_FEW, _SOME = 1, 2
_STYLE = """
text { font-family: system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif; fill: #1b1f24 }
.small { font-size: 13px; fill: #57606a } .deed { font-size: 16px } .topic { font-size: 15px; font-weight: 700 }
.headline { font-size: 27px; font-weight: 700 } .paper { fill: #ffffff } .line { stroke: #d0d7de }
.one { fill: #c62828 } .two { fill: #b26a00 } .more { fill: #2e7d32 } .nobody { fill: #6e7781 }
@media (prefers-color-scheme: dark) {
 text { fill: #e6edf3 } .small { fill: #9da7b3 } .paper { fill: #0d1117 } .line { stroke: #30363d }
 .one { fill: #ff7b72 } .two { fill: #e3b341 } .more { fill: #56d364 } .nobody { fill: #8b949e } }
"""
_PERSON = '<g transform="translate({x} {y})" class="{kind}"><circle cx="9" cy="6" r="6"/><path d="M0 28v-5a9 9 0 0 1 18 0v5z"/></g>'


def picture(found: Quorums, name: str) -> str:
    """Draw all quorums.

    Args:
        found: the result of `quorum.quorums`.
        name: of the network, for the title.
    """
    shown = [one for one in found.values() if _interesting(one)]
    rows: list[str] = []
    y = _HEAD
    for topic, group in groupby(shown, key=lambda one: one.action.topic):
        rows.append(f'<text x="40" y="{y + 24}" class="topic">{escape(topic)}</text>')
        y += _TOPIC
        for one in group:
            rows.append(_row(one, y))
            y += _ROW
    headline = takeover(found)
    return _svg(headline, name, rows, y + 56)


def _interesting(one: Quorum) -> bool:
    """Whether to show it; most changes of one role into another add little."""
    another_role = one.action.topic == "Changes of role"
    return not another_role or (one.weaker and not one.action.name.startswith("write"))


def _row(one: Quorum, y: int) -> str:
    size = one.size
    kind = (
        "nobody"
        if size is None
        else "one"
        if size <= _FEW
        else "two"
        if size == _SOME
        else "more"
    )
    way = one.ways[0] if one.ways else None
    who = way.who if way else "nobody, and nobody can change that"
    below = f"{who}; {way.path}" if way and way.moves else who
    deed = one.action.name
    people = "".join(
        _PERSON.format(x=_PEOPLE_AT + 26 * n, y=y + 4, kind=kind)
        for n in range(min(size or 0, _MOST_SHOWN))
    )
    more = f" +{size - _MOST_SHOWN}" if size and size > _MOST_SHOWN else ""
    beside = _PEOPLE_AT + 26 * min(size or 0, _MOST_SHOWN) + 8
    return (
        f'<line x1="40" x2="{_WIDTH - 40}" y1="{y}" y2="{y}" class="line"/>'
        f'<text x="40" y="{y + 20}" class="deed">{escape(deed[:1].upper() + deed[1:])}</text>'
        f'<text x="40" y="{y + 38}" class="small">{escape(_short(below, 72))}</text>'
        f'{people}<text x="{beside}" y="{y + 24}" class="deed {kind}">{_count(size)}{more}</text>'
    )


def _count(size: int | None) -> str:
    return "nobody" if size is None else "anybody" if size == 0 else str(size)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _svg(headline: str, name: str, rows: Sequence[str], height: int) -> str:
    legend = "Each person is one signature that is needed, directly or indirectly. Red: one is enough."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-labelledby="t d"><title id="t">{escape(headline)}</title>'
        f'<desc id="d">{escape(legend)}</desc><style>{_STYLE}</style>'
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>'
        f'<text x="40" y="56" class="headline">{escape(headline)}</text>'
        f'<text x="40" y="86" class="small">Network {escape(name)}. {legend}</text>'
        f"{''.join(rows)}</svg>\n"
    )
