"""Adding a protocol: one file and one entry point, and it has routes, docs and a table."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest
from agent.processes import ended, introduce, launch, spawned

from keep_agent.core import catalog
from keep_agent.errors import BadCommandError

TOY = '''
"""Greeting 1.0: hello, and hello again."""

from typing import ClassVar

from keep_agent.core.machine import STATELESS, START, Command, Data, Protocol, Role, Step, rule
from keep_agent.core.message import Message

URI = "https://didcomm.org/greeting/1.0"


class Hello(Message):
    TYPE: ClassVar[str] = f"{URI}/hello"
    name: str


class HelloAgain(Message):
    TYPE: ClassVar[str] = f"{URI}/hello-again"
    name: str


class SayHello(Command):
    """Greet the peer by our name."""

    name: str


class Greeting(Data):
    HIDDEN: ClassVar[frozenset[str]] = frozenset({"diary"})

    peer: str | None = None
    diary: str = ""


class Side(Role):
    FIRST = "first"
    SECOND = "second"


class Names:
    """A port of this package: it reads what the tenant calls itself."""

    def __init__(self, tenant):
        self._tenant = tenant

    def ours(self):
        return self._tenant.around.label


async def say(_x, cmd, _):
    return Step("greeted", data=Greeting(diary="what I really think"), send=(Hello(name=cmd.name),))


async def answer(_x, hello, names):
    again = HelloAgain(name=names.ours())
    return Step("met", data=Greeting(peer=hello.name), send=(again,))


async def finish(x, again, _):
    return Step("met", data=x.data.but(peer=again.name))


PROTOCOL = Protocol(uri=URI, data=Greeting, port="greeting", rules=(
    rule(Side.FIRST, START, SayHello, "greeted", say),
    rule(Side.FIRST, "greeted", HelloAgain, "met", finish),
    rule(Side.SECOND, START, Hello, "met", answer),
))
'''


def install(folder: Path) -> None:
    """Lay a distribution with one module and one entry point into a folder."""
    (folder / "greeting.py").write_text(dedent(TOY).lstrip(), "utf-8")
    info = folder / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[indykeep.protocols]\ngreeting = greeting:PROTOCOL\n"
        "[indykeep.ports]\ngreeting = greeting:Names\n",
        "utf-8",
    )


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "PROTOCOL = Protocol(uri='https://example.org/x/1.0', rules=())",
            "example.org/x/1.0: the",
        ),
        ("", "has no attribute 'PROTOCOL'"),
        ("import nowhere", "No module named 'nowhere'"),
        ("def (", "SyntaxError: invalid syntax"),
        ("PROTOCOL = Protokol()", "NameError: name 'Protokol' is not defined"),
        ("raise RuntimeError('no database')", "RuntimeError: no database"),
        ("PROTOCOL = {}['x']", "KeyError: 'x'"),
        ("PROTOCOL = 7", "it is not a Protocol"),
        (
            dedent("""
                from keep_agent.core.machine import Data
                class Loose(Data):
                    what = 5
                PROTOCOL = Protocol(uri='https://didcomm.org/x/1.0', rules=(), data=Loose)
            """),
            "PydanticUserError: A non-annotated attribute was detected",
        ),
        (
            "PROTOCOL = Protocol(uri='https://didcomm.org/x/1.0', rules=(), port='shelf')",
            "it asks for the port 'shelf', which is not installed",
        ),
        (
            dedent("""
                from keep_agent.core.machine import Data
                class Needs(Data):
                    what: str
                PROTOCOL = Protocol(uri='https://didcomm.org/x/1.0', rules=(), data=Needs)
            """),
            "its data model needs values at the start",
        ),
    ],
)
def test_a_protocol_that_cannot_be_loaded_is_named(
    source: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(
        f"from keep_agent.core.machine import Protocol\n{source}\n"
    )
    entry = EntryPoint("odd", "broken:PROTOCOL", catalog.PROTOCOLS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "broken", raising=False)

    def entry_points(group: str) -> list[EntryPoint]:
        return [entry] if group == entry.group else []

    monkeypatch.setattr(catalog, "entry_points", entry_points)
    with pytest.raises(BadCommandError, match=r"^protocol odd \(broken:PROTOCOL\): ") as caught:
        catalog.load_catalog()
    assert says in str(caught.value)


async def test_a_port_that_cannot_be_made_is_named_at_the_start(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    install(installed)
    toy = installed / "greeting.py"
    toy.write_text(toy.read_text().replace("self._tenant = tenant", "tenant.nothing"), "utf-8")
    process = await launch(tmp_path / "alice", "--json", PYTHONPATH=str(installed))
    assert await ended(process) == 2
    log = (tmp_path / "alice" / "log").read_text("utf-8")
    assert "the port greeting of another package fails: AttributeError: " in log
    assert "Traceback" not in log


async def test_a_protocol_in_one_file_is_spoken_described_and_driven(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    install(installed)
    more = {"PYTHONPATH": str(installed)}
    async with (
        spawned(tmp_path / "alice", **more) as alice,
        spawned(tmp_path / "faber", **more, LABEL="Faber") as faber,
    ):
        described = await alice.client.call("GET", "/v1/protocols/greeting")
        assert described["commands"]["say-hello"]["about"] == "Greet the peer by our name."
        assert described["commands"]["say-hello"]["path"] == "/v1/greeting"
        assert "greeted --> met: hello-again" in described["mermaid"]["first"]
        assert len(described["table"]) == 3
        to_alice, to_faber = await introduce(faber.client, alice.client)

        x = await alice.client.start("greeting", "say-hello", to_faber, name="Alice")
        met = await alice.client.wait("greeting", x["id"], "met", timeout=20)
        assert met["data"] == {"peer": "Faber"}
        [theirs] = await faber.client.list("greeting/1", connection=to_alice)
        assert theirs["data"] == {"peer": "Alice"}
        queries = [{"feature-type": "protocol", "match": "https://didcomm.org/greeting/*"}]
        asked = await alice.client.start(
            "discover-features", "send-queries", to_faber, queries=queries
        )
        told = await alice.client.wait(
            "discover-features", asked["id"], "completed", timeout=20
        )
        [feature] = told["data"]["disclosures"]
        assert feature["id"] == "https://didcomm.org/greeting/1.0"
