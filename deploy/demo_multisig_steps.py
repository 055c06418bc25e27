"""Five trustees who control a network together, step by step; every step checks what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from demo_claims import ClaimError, claim
from demo_commands import Commands
from keep_agent.cli.multisig.signing_keys import open_signer
from keep_ledger.codes import ENDORSER, TRUSTEE
from keep_ledger.errors import NotWrittenError
from keep_ledger.identifiers import Did
from keep_ledger.indy import auth_rules
from keep_ledger.indy.network_client import NetworkClient
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.control_descriptor import Descriptor
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.rules.auth_rules import Signer, satisfied

SEED = "000000000000000000000000Trustee1"
"""The seed of the only trustee in every local genesis. It is public."""
QUORUM = 3
LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "4711"
AS_APPROVED = "exactly as it was approved"
_DIGEST = re.compile(r"^  ((?:[0-9a-f]{4} ?)+)$", re.MULTILINE)


@dataclass(slots=True)
class Trustees:
    """The five trustees, their commands and the ledger.

    Attributes:
        client: the ledger, read with proofs, to check what the demo says.
        token: Ben's key is in a token, not in a store.
    """

    commands: Commands
    client: NetworkClient
    token: bool = False

    async def on_ledger(self, name: str, verkey: str, role: str | None) -> bool:
        """Whether the ledger has the DID with this key and role now."""
        there = await self.client.nym(self.commands.names[name])
        return there is not None and (there.verkey, there.role) == (
            self.commands.names[verkey],
            role,
        )

    async def send_directly(self, request: Json, signatures: dict[str, bytes]) -> str:
        """Send a request without our commands. It must be refused; return the ledger's reason."""
        try:
            await self.client.submit(request, signatures)
        except NotWrittenError as error:
            return str(error)
        raise ClaimError("the ledger accepted what it must refuse")

    async def approve(self, file: str, *who: str) -> None:
        """Let several people sign a file, one after the other."""
        for one in who:
            await self.commands.run(one, f'sign {file} --with "${one.upper()}_WITH" --yes')

    async def submit(self, who: str, file: str, *, shown: bool = True) -> None:
        """Let somebody submit; what is written must be what was approved."""
        out = await self.commands.run(who, f"submit {file} --yes", shown=shown)
        claim(AS_APPROVED in out, f"what was written of {file} is what was approved")

    def proposal(self, file: str) -> Proposal:
        """Read a proposal's file."""
        return Proposal.from_bytes((self.commands.folder / file).read_bytes())

    async def new_key(self, who: str, name: str, *, shown: bool = True) -> None:
        """Make a key in somebody's store: `$NAME` is its DID, `$NAME_KEY` its verkey."""
        where = f"store:{who}.db#{name.lower()}"
        out = await self.commands.run(who, f"key new {where} --json", shown=shown)
        self.note_key(name, where, out)

    def note_key(self, name: str, where: str, shown: str) -> None:
        """Note a key by what `indykeep` shows of it as JSON: its DID, its verkey and where it is."""
        key = json.loads(shown)
        self.commands.names |= {
            name: key["did"],
            f"{name}_KEY": key["verkey"],
            f"{name}_WITH": where,
        }


# -- 1: keys and roles -------------------------------------------------------------------------


async def make_keys(trustees: Trustees) -> None:
    """Give everybody a key: in a store, in a token, or shared by a group."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    terminal.heading("2. Five trustees make their keys")
    seed = commands.folder / "ana.seed"
    seed.touch(0o600)
    seed.write_text(SEED)
    where = "store:ana.db#ana"
    trustees.note_key(
        "ANA",
        where,
        await commands.run("ana", f"key import {where} --seed-file ana.seed --json"),
    )
    terminal.done("Ana was the only trustee until now: her key is in an encrypted store")
    await _make_ben(trustees)
    for one in ("cas", "dee"):
        await trustees.new_key(one, one.upper())
    terminal.done("Cas and Dee: encrypted stores")
    await _make_group(trustees)
    names = ("ANA", "BEN", "CAS", "DEE")
    people = " ".join(f"--cosigner {one.capitalize()}={commands.names[one]}" for one in names)
    commands.names["COSIGNERS"] = f"{people} --group eli.json"


async def _make_ben(trustees: Trustees) -> None:
    """Make Ben's key in a token, or in a store if there is no token software."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    trustees.token = await asyncio.to_thread(_token, commands.folder)
    if not trustees.token:
        await trustees.new_key("ben", "BEN")
        terminal.done("Ben: an encrypted store (with SoftHSM2 installed it would be a token)")
        return
    where = f"pkcs11:token=trustees;object=ben?module-path={LIBRARY}"
    commands.names["BEN_WITH"] = where
    trustees.note_key("BEN", where, await commands.run("ben", 'key new "$BEN_WITH" --json'))
    terminal.done("Ben: a token (SoftHSM2), made inside; the key never leaves it")


def _token(folder: Path) -> bool:
    """Make an empty token `trustees`, if that can be done on this machine."""
    if not LIBRARY.exists() or shutil.which("softhsm2-util") is None:
        return False
    conf, pin = folder / "softhsm2.conf", folder / "ben.pin"
    (folder / "tokens").mkdir()
    conf.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    pin.touch(0o600)
    pin.write_text(PIN)
    os.environ |= {"SOFTHSM2_CONF": str(conf), "INDYKEEP_PIN_FILE": str(pin)}
    # a PIN in a command line is visible to others; this one protects a key of this demo only
    words = ("--init-token", "--free", "--label", "trustees", "--so-pin", PIN, "--pin", PIN)
    subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
    return True


async def _make_group(trustees: Trustees) -> None:
    """Make Eli's key: three people make it together, and nobody ever has all of it."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    (commands.folder / "exchange").mkdir()
    start = "group begin eli --name Eli --members 3 --threshold 2 --me 1 --out exchange"
    await commands.run("eli", start)
    for me, one in ((2, "eva"), (3, "eno")):
        join = f"group begin {one} --join exchange/round1-1.json --me {me} --out exchange"
        await commands.run(one, join, shown=me == 2)  # noqa: PLR2004
    digests: set[str] = set()
    for one in ("eli", "eva", "eno"):
        dealt = await commands.run(
            one, f"group deal {one} exchange --out exchange", shown=one == "eli"
        )
        digests.add(" ".join(_DIGEST.findall(dealt)))
    claim(len(digests) == 1 and "" not in digests, "all three read the same digest aloud")
    commands.names["DIGEST"] = digests.pop()
    for one in ("eli", "eva", "eno"):
        line = f'group finish {one} exchange --transcript "$DIGEST"'
        await commands.run(one, line, shown=one == "eli")
    exported = await commands.run("eli", "group export eli")
    (commands.folder / "eli.json").write_text(exported)
    described = Descriptor.from_text(exported)
    assert described.group is not None
    assert described.did is not None
    commands.names |= {"ELI": Did.parse(described.did).id, "ELI_KEY": described.group.verkey}
    commands.names |= {f"{one.upper()}_WITH": f"frost:{one}" for one in ("eli", "eva", "eno")}
    terminal.done("Eli: a key with which any 2 of 3 people sign, and of which nobody has all")


async def register_trustees(trustees: Trustees) -> None:
    """Register the four others and put 3 of 5 in force: the last that Ana does alone."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    terminal.heading(
        "3. Ana registers the others and puts 3 of 5 in force, the last that she does alone"
    )
    for one in ("BEN", "CAS", "DEE", "ELI"):
        shown, file = one == "BEN", f"{one.lower()}.psit"
        line = f"propose nym --did ${one} --verkey ${one}_KEY --role TRUSTEE --author $ANA"
        await commands.run("ana", f"{line} --cosigner Ana=$ANA --out {file}", shown=shown)
        sign = f'sign {file} --with "$ANA_WITH" --yes'
        await commands.run("ana", sign, shown=shown)
        await trustees.submit("ana", file, shown=shown)
        claim(await trustees.on_ledger(one, f"{one}_KEY", TRUSTEE), f"{one} is a trustee")
    terminal.done("Ben, Cas, Dee and Eli are trustees now, each by three commands like these")
    await commands.run("ana", "govern init --preset 3-of-5 --out governance.yaml")
    line = "govern propose governance.yaml --author $ANA --cosigner Ana=$ANA --out rules.psit"
    await commands.run("ana", line)
    await trustees.approve("rules.psit", "ana")
    await trustees.submit("ana", "rules.psit")
    await _in_force(trustees)


async def _in_force(trustees: Trustees) -> None:
    """Read every rule of the ledger, with proofs: two trustees who own nothing satisfy none."""
    rules = await auth_rules.read_rules(trustees.client.pool, None)
    two = [Signer(f"trustee {n}", TRUSTEE, owner=False) for n in range(QUORUM - 1)]
    weak = [key.text for key, rule in rules.items() if satisfied(rule, two)]
    claim(not weak, f"two trustees satisfy no rule, not even {', '.join(weak)}")
    three = [*two, Signer("one more", TRUSTEE, owner=False)]
    met = [rule for rule in rules.values() if satisfied(rule, three)]
    claim(met, "three trustees can do something")
    words = f"all {len(rules)} rules were read again: two trustees satisfy none, three trustees {len(met)}"
    trustees.commands.terminal.done(words)
    trustees.commands.note_result("3 of 5 in force", f"{len(met)} rules, in one write")


# -- 2: a proposal -------------------------------------------------------------------------------


async def approve_an_endorser(trustees: Trustees) -> None:
    """Three of five approve a new endorser: by file, picture, token, and in two rounds."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    terminal.heading("4. Three of five approve that Acme becomes an endorser")
    await trustees.new_key("acme", "ACME")
    line = "propose nym --did $ACME --verkey $ACME_KEY --role ENDORSER --author $ANA $COSIGNERS"
    more = '--memo "Acme issues licences" --out endorser.psit --qr endorser.png'
    await commands.run("ana", f"{line} {more}")
    pictures = sorted(path.name for path in commands.folder.glob("endorser*.png"))
    claim(pictures, "the proposal is also a picture")
    await commands.run("ana", 'sign endorser.psit --with "$ANA_WITH" --out 1.psit --yes')
    photo = " ".join(pictures)
    await commands.run("ben", f'sign {photo} --with "$BEN_WITH" --out 2.psit --yes')
    terminal.done(f"Ben read it from a QR code ({photo}) and signed with {_bens_key(trustees)}")
    why = "I have seen no contract"
    line = f'refuse endorser.psit --with "$DEE_WITH" --reason "{why}" --out 4.psit'
    await commands.run("dee", line)
    await commands.run_refused("ana", "submit 1.psit --yes", because="two more trustees")
    terminal.done("with Ana's signature alone it cannot be sent: two more trustees")
    await _in_rounds(trustees, "endorser.psit", "5.psit")
    terminal.done("Eli's group signed in two rounds: one ordinary signature came out")
    await commands.run("ana", "merge 1.psit 2.psit 4.psit 5.psit --out endorser.psit")
    shown = " ".join((await commands.run("ana", "show endorser.psit")).split())
    claim(why in shown, "everybody reads why Dee refuses")
    claim("nothing: it can be submitted" in shown, "Ana, Ben and Eli are enough")
    terminal.quote("Dee", why)
    await trustees.submit("ana", "endorser.psit")
    claim(await trustees.on_ledger("ACME", "ACME_KEY", ENDORSER), "Acme is an endorser")
    terminal.done("it is on the ledger; the transaction was compared with what they approved")
    commands.note_result(
        "Acme is an endorser", "Ana, Ben and Eli signed, Dee refused; written as approved"
    )


def _bens_key(trustees: Trustees) -> str:
    return "a token" if trustees.token else "a key in a store"


async def _in_rounds(trustees: Trustees, file: str, out: str) -> None:
    """Let two of Eli's three sign: both commit, then both sign."""
    commands = trustees.commands
    first = f'sign {file} --with "$ELI_WITH" --out {out} --yes'
    await commands.run("eli", first)
    said = ""
    for one in ("eno", "eli", "eno"):
        said = await commands.run(one, f'sign {out} --with "${one.upper()}_WITH" --yes')
    claim("round 2 of 2: signed (2 of 2)" in said, "two of three made one signature")


# -- 3: a lost key -------------------------------------------------------------------------------


async def replace_a_stolen_key(trustees: Trustees) -> None:
    """Cas's laptop is stolen: three others give his DID a new key; the old one no longer works."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    terminal.heading("6. Cas's laptop is stolen, with his key")
    for end in ("db", "key"):
        (commands.folder / f"cas.{end}").rename(commands.folder / f"thief.{end}")
    commands.names["THIEF_WITH"] = "store:thief.db#cas"
    await trustees.new_key("cas", "CAS_NEW")
    line = "propose nym --did $CAS --verkey $CAS_NEW_KEY --author $DEE $COSIGNERS --out cas-new.psit"
    await commands.run("dee", line)
    await trustees.approve("cas-new.psit", "dee", "ben")
    await commands.run_refused("dee", "submit cas-new.psit --yes", because="one more trustee")
    terminal.done("two are not enough to replace a key: it takes as many as everything else")
    await trustees.approve("cas-new.psit", "ana")
    await trustees.submit("ana", "cas-new.psit")
    claim(
        await trustees.on_ledger("CAS", "CAS_NEW_KEY", TRUSTEE),
        "Cas has the new key and his role",
    )
    terminal.done("Cas's DID and role stay; its key is the new one")
    commands.note_result("Cas's key is stolen", "Ana, Ben and Dee gave his DID a new one")
    await _try_stolen_key(trustees)
    await _renew_outdated(trustees)


async def _try_stolen_key(trustees: Trustees) -> None:
    """The thief tries the old key, with our commands and without them."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    commands.names["CAS_WITH"] = commands.names["CAS_NEW_WITH"]
    line = "propose nym --did $CAS --verkey $CAS_KEY --author $CAS --cosigner Cas=$CAS"
    await commands.run("thief", f"{line} --out back.psit")
    sign = 'sign back.psit --with "$THIEF_WITH" --yes'
    await commands.run_refused("thief", sign, because="does not belong to a cosigner")
    request = trustees.proposal("back.psit").request
    key_file = commands.folder / "thief.key"

    def stolen() -> bytes:
        with open_signer(commands.names["THIEF_WITH"], key_file) as signer:
            return signer.sign(request.signing_input)

    signature = await asyncio.to_thread(stolen)
    why = await trustees.send_directly(request.body, {request.author: signature})
    terminal.done(f"the stolen key no longer works. The ledger says: {why}")
    commands.note_result("the stolen key", "refused by the commands and by the ledger")


async def _renew_outdated(trustees: Trustees) -> None:
    """The outdated proposal is made again, and Cas's new key counts."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    await commands.run("ana", "propose renew outdated.psit --out renewed.psit")
    await trustees.approve("renewed.psit", "ana", "cas", "dee")
    await trustees.submit("dee", "renewed.psit")
    claim(await trustees.on_ledger("ACME", "ACME_NEW_KEY", None), "Acme's role is gone")
    terminal.done(
        "the outdated proposal was made again; Ana, Dee and Cas (with his new key) signed it"
    )
    commands.note_result(
        "Acme lost its role", "Ana, Cas (new key) and Dee signed; written as approved"
    )


# -- 4: the audit ----------------------------------------------------------------------------------


async def audit(trustees: Trustees) -> None:
    """Check everything that was written by or about Cas, from the ledger and the proposals."""
    commands, terminal = trustees.commands, trustees.commands.terminal
    terminal.heading("7. The audit")
    out = await commands.run("dee", "audit $CAS --proposals . --cache cache")
    verdict = out.strip().splitlines()[-1]
    claim(verdict.startswith("Nothing wrong"), "every write was approved, every signature fits")
    terminal.done(
        f"checked from the ledger: all that Cas's DID wrote, and all that changed it. {verdict}"
    )
    commands.note_result("audit of Cas's DID", "every write was approved, every signature fits")
