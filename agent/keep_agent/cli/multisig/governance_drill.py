"""A drill of wanted quorums: on a local network, with new trustees, every quorum is tested."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import base58
from nacl.signing import SigningKey

from keep_agent.cli.multisig.ledger_view import opened
from keep_agent.cli.multisig.output import note, say
from keep_agent.errors import UnavailableError
from keep_ledger.codes import ENDORSER, NETWORK_MONITOR, TRUSTEE
from keep_ledger.errors import NotWrittenError
from keep_ledger.indy.auth_rules import read_rules
from keep_ledger.indy.network_client import NetworkClient
from keep_ledger.json_object import Json
from keep_ledger.local_network import IndyNetwork, IndyNetworkError
from keep_ledger.multisig.errors import MultisigError
from keep_ledger.multisig.proposal.signing_input import signing_input
from keep_ledger.multisig.rules import governance_file
from keep_ledger.multisig.rules.applicable_rules import Before, applicable
from keep_ledger.multisig.rules.auth_rules import VERKEY, Constraint, Forbidden, RuleKey
from keep_ledger.multisig.rules.governance_file import Governance
from keep_ledger.multisig.rules.rule_words import role_count
from keep_ledger.multisig.rules.soundness import enough
from keep_ledger.wording import counted

_MONITOR = RuleKey("1", "ADD", "role", "*", NETWORK_MONITOR)


class RulesDoNotHoldError(MultisigError):
    """The ledger decided differently from the file: do not propose it."""


@dataclass(frozen=True, slots=True)
class DrillTrustee:
    """A trustee of the drill."""

    did: str
    key: SigningKey = field(repr=False)

    @classmethod
    def new(cls, key: SigningKey | None = None) -> Self:
        """Make one with a new key, or with this one."""
        made = key or SigningKey.generate()
        return cls(base58.b58encode(bytes(made.verify_key)[:16]).decode(), made)

    @property
    def verkey(self) -> str:
        """The key in base58."""
        return base58.b58encode(bytes(self.key.verify_key)).decode()


def run(wanted: Governance) -> None:
    """Run the drill on a temporary network, which is ended in any case.

    Raises:
        UnavailableError: the local network does not start.
        RulesDoNotHoldError: the rules do not do what the file says.
    """
    note("A local network starts on this machine; your ledger is not changed.")
    with tempfile.TemporaryDirectory(prefix="indykeep-drill-") as folder:
        try:
            network = IndyNetwork(Path(folder) / "network")
        except IndyNetworkError as error:
            raise UnavailableError(
                f"the network for the drill does not start: {error}"
            ) from error
        try:
            asyncio.run(_drill(wanted, network))
        finally:
            network.stop()
            note("The network has ended.")


async def _drill(wanted: Governance, network: IndyNetwork) -> None:
    async with opened(str(network.genesis)) as client:
        first = DrillTrustee.new(SigningKey(network.trustee.seed.encode()))
        trustees = [DrillTrustee.new() for _ in range(wanted.trustees.members)]
        drill = DrillNetwork(client, trustees, await read_rules(client.pool, None))
        await drill.register_trustees(first)
        await drill.put_in_force(wanted)
        await drill.try_all()
    say(
        "The rules work as the file says: fewer trustees were refused each time, and the quorum can undo everything."
    )


@dataclass(slots=True)
class DrillNetwork:
    """The temporary network and its trustees.

    Attributes:
        trustees: all trustees of the network.
        rules: the rules in force.
        before: the old constraints of the rules that changed.
    """

    client: NetworkClient
    trustees: list[DrillTrustee]
    rules: dict[RuleKey, Constraint]
    before: dict[RuleKey, Constraint] = field(default_factory=dict[RuleKey, Constraint])

    async def register_trustees(self, first: DrillTrustee) -> None:
        """Register the trustees, and remove the role of the network's first trustee."""
        for one in self.trustees:
            await self.write(_nym(one, TRUSTEE), [first])
        await self.write({"type": "1", "dest": first.did, "role": None}, [self.trustees[0]])
        say(
            f"{role_count(len(self.trustees), TRUSTEE).capitalize()} with new keys take the place of yours in this drill."
        )

    async def put_in_force(self, wanted: Governance) -> None:
        """Put the wanted rules in force; one trustee is enough on a new ledger."""
        changes = governance_file.diff(wanted, self.rules)
        if changes:
            one = governance_file.operation(wanted, self.rules)
            landed = await self.write(one, [self.trustees[0]])
            say(
                f"One AUTH_RULES changed {counted(len(changes), 'rule')}: transaction {landed}."
            )
        self.before = {change.key: change.before for change in reversed(changes)}
        self.rules |= {change.key: change.after for change in changes}

    async def try_all(self) -> None:
        """Try everything that a too small coalition could use, with one signer too few and with enough."""
        endorser, trustee = DrillTrustee.new(), DrillTrustee.new()
        gone: Json = {"type": "1", "dest": trustee.did, "role": None}
        forbid = governance_file.change_to({_MONITOR: Forbidden()})
        monitor = forbid["rules"][0]
        await self.prove(_nym(endorser, ENDORSER), Before(exists=False))
        await self.prove(_nym(trustee, TRUSTEE), Before(exists=False))
        await self.prove(gone, Before(exists=True, role=TRUSTEE))
        promoted: Json = {"type": "1", "dest": endorser.did, "role": TRUSTEE}
        await self.prove(promoted, Before(exists=True, role=ENDORSER), only_refused=True)
        await self.prove({"type": "120", **monitor}, Before(exists=True))
        restored = governance_file.change_to({_MONITOR: self.rules[_MONITOR]})
        await self.prove(restored, Before(exists=True))
        await self.replace_a_lost_key()
        if self.before:
            say("Back to the old rules:")
            await self.prove(governance_file.change_to(self.before), Before(exists=True))

    async def replace_a_lost_key(self) -> None:
        """Let the others replace the key of the last trustee."""
        *others, lost = self.trustees
        if enough(self.rules[VERKEY], len(others)) is None:
            say("Only its owner can give a DID another key: a lost key cannot be replaced.")
            return
        say("One trustee's key is lost:")
        again = DrillTrustee(lost.did, SigningKey.generate())
        self.trustees = others
        operation = {"type": "1", "dest": lost.did, "verkey": again.verkey}
        await self.prove(operation, Before(exists=True, role=TRUSTEE))
        await self.refused(operation, [lost], "the lost key")
        self.trustees = [again, *others]

    async def prove(
        self, operation: Json, before: Before, *, only_refused: bool = False
    ) -> None:
        """Try an operation with one signer too few, then with just enough.

        Raises:
            RulesDoNotHoldError: it was accepted from too few.
            NotWrittenError: it was refused from enough.
        """
        (key,) = applicable(operation, before)
        count = enough(self.rules[key], len(self.trustees))
        few = len(self.trustees) if count is None else count - 1
        if few:
            who = f"{role_count(few, TRUSTEE)} to {key.description}"
            await self.refused(operation, self.trustees[:few], who)
        if count is not None and not only_refused:
            landed = await self.write(operation, self.trustees[:count])
            say(
                f"  accepted from {role_count(count, TRUSTEE)} to {key.description}: transaction {landed}"
            )

    async def refused(self, operation: Json, signers: list[DrillTrustee], who: str) -> None:
        """Try an operation that the ledger must refuse.

        Raises:
            RulesDoNotHoldError: it was accepted.
        """
        try:
            landed = await self.write(operation, signers)
        except NotWrittenError as error:
            say(f"  refused  {who}: {error}")
            return
        raise RulesDoNotHoldError(
            f"{who}: the ledger accepted it as transaction {landed}. Do not put this in force"
        )

    async def write(self, operation: Json, signers: list[DrillTrustee]) -> int:
        """Sign with all of these, the first as author, and send it."""
        body: Json = {
            "identifier": signers[0].did,
            "reqId": time.time_ns(),
            "protocolVersion": 2,
            "operation": operation,
        }
        said = signing_input(body)
        signatures = {one.did: one.key.sign(said).signature for one in signers}
        return await self.client.submit(body, signatures)


def _nym(who: DrillTrustee, role: str) -> Json:
    return {"type": "1", "dest": who.did, "verkey": who.verkey, "role": role}
