"""People at their terminals: five trustees with a store each, who run `indykeep`."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from agent.cli.multisig.run_command import Ran, run
from governed_network import Governed, Person

from keep_ledger.multisig.audit.control_descriptor import Descriptor
from keep_ledger.multisig.threshold.shares import Group


@dataclass(slots=True)
class Board:
    """A folder that they share, the current one, on a network whose rules they may change."""

    governed: Governed
    folder: Path
    stores: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    async def of(cls, governed: Governed, folder: Path) -> Self:
        """Give the trustees and the endorser a store each."""
        board = cls(governed, folder)
        people = [*governed.trustees, governed.endorser]
        for one in people:
            await board._store(one)
        return board

    async def newcomer(self) -> Person:
        """A DID without a role, registered, with a store."""
        made = self.governed.person()
        body = {"type": "1", "dest": made.did, "verkey": made.verkey}
        await self.governed.write(body, self.governed.trustees[0])
        await self._store(made)
        return made

    async def group(self) -> Group:
        """A new key in three shares, two of which sign; a folder each, and its description."""
        words = ("--name", "Seal", "--members", "3", "--threshold", "2")
        seed = secrets.token_hex(32)
        await self.run("group", "split", "seal", *words, genesis=False, stdin=seed)
        told = await self.run("group", "export", "seal/member-1")
        (self.folder / "group.json").write_text(told.out)
        group = Descriptor.from_text(told.out).group
        assert group is not None
        return group

    async def by_group(self, did: str, *wish: str) -> int:
        """Let the group propose, sign in two rounds and send; the number on the ledger."""
        other = f"Trustee={self.governed.trustees[0].did}"
        words = ("--author", did, "--group", "group.json", "--cosigner", other)
        await self.run("propose", *wish, *words, "--out", "g.psit")
        for member in (1, 3, 1, 3):
            share = f"frost:seal/member-{member}"
            await self.run("sign", "g.psit", "--with", share, "--yes")
        said = (await self.run("submit", "g.psit", "--yes")).out
        assert "exactly as it was approved" in said
        return int(said.rpartition("as transaction ")[2].partition(",")[0])

    def key(self, trustee: int) -> tuple[str, ...]:
        """The options that name a trustee's key."""
        return self.key_of(self.governed.trustees[trustee])

    def key_of(self, person: Person) -> tuple[str, ...]:
        """The options that name somebody's key."""
        name = self.stores[person.did]
        return "--with", f"store:{name}.db#{name}", "--key-file", f"{name}.key"

    async def _store(self, person: Person) -> None:
        name = f"p{len(self.stores)}"
        self.stores[person.did] = name
        where = ("key", "import", f"store:{name}.db#{name}", "--key-file", f"{name}.key")
        await self.run(*where, genesis=False, stdin=bytes(person.key).hex())

    async def run(self, *words: str, genesis: bool = True, stdin: str = "") -> Ran:
        """Run `indykeep`, which must succeed."""
        said = await self._run(words, genesis=genesis, stdin=stdin)
        assert said.code == 0, said
        return said

    async def fails(self, *words: str, says: str, genesis: bool = True) -> Ran:
        """Run `indykeep`, which must refuse for that reason and leave the files as they are."""
        files = {path: path.read_bytes() for path in self.folder.glob("*.psit")}
        said = await self._run(words, genesis=genesis, stdin="")
        assert said.code == 2, said
        assert says in said.err + said.out, said
        assert "Traceback" not in said.err
        assert files == {path: path.read_bytes() for path in self.folder.glob("*.psit")}
        return said

    async def show(self, file: str) -> str:
        """What `show` prints, its lines joined."""
        return " ".join((await self.run("show", file)).out.split())

    async def propose_nym(self, file: str, who: Person, role: str, *more: str) -> None:
        """Propose a new DID with a role, as the first trustee; all trustees may sign."""
        words = ("--did", who.did, "--verkey", who.verkey, "--role", role)
        author = ("--author", self.governed.trustees[0].did)
        named = [
            word
            for number, one in enumerate(self.governed.trustees)
            for word in ("--cosigner", f"Trustee {number}={one.did}")
        ]
        await self.run("propose", "nym", *words, *author, *named, "--out", file, *more)

    async def _run(self, words: tuple[str, ...], *, genesis: bool, stdin: str) -> Ran:
        network = ("--genesis", str(self.governed.genesis)) if genesis else ()
        return await asyncio.to_thread(run, *words, *network, stdin=stdin)
