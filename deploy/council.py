"""Five trustees who control a network together, act by act; every act checks what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from desk import Desk
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
from story import ClaimError, claim

SEED = "000000000000000000000000Trustee1"
"""Of the one trustee in every local genesis: no secret."""
QUORUM = 3
LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "4711"
JUST_SO = "just as it was approved"
_DIGEST = re.compile(r"^  ((?:[0-9a-f]{4} ?)+)$", re.MULTILINE)


@dataclass(slots=True)
class Council:
    """The five and the ledger.

    Attributes:
        client: the ledger as we read it ourselves, with proofs, to check what is told.
        token: Ben's key is in a token, not in a store.
    """

    desk: Desk
    client: NetworkClient
    token: bool = False

    async def told(self, name: str, verkey: str, role: str | None) -> bool:
        """Whether the ledger has a DID so now."""
        there = await self.client.nym(self.desk.names[name])
        return there is not None and (there.verkey, there.role) == (
            self.desk.names[verkey],
            role,
        )

    async def straight(self, request: Json, signatures: dict[str, bytes]) -> str:
        """Send something past our own commands; it must be refused. Gives the ledger's reason."""
        try:
            await self.client.submit(request, signatures)
        except NotWrittenError as error:
            return str(error)
        raise ClaimError("the ledger took what it had to refuse")

    async def approve(self, file: str, *who: str) -> None:
        """Let several persons sign one file after the other."""
        for one in who:
            await self.desk.types(one, f'sign {file} --with "${one.upper()}_WITH" --yes')

    async def land(self, who: str, file: str, *, told: bool = True) -> None:
        """Let somebody submit; what landed must be what was approved."""
        out = await self.desk.types(who, f"submit {file} --yes", told=told)
        claim(JUST_SO in out, f"what landed of {file} is what was approved")

    def proposal(self, file: str) -> Proposal:
        """Read a proposal's file."""
        return Proposal.from_bytes((self.desk.folder / file).read_bytes())

    async def new_key(self, who: str, name: str, *, told: bool = True) -> None:
        """Make a key in somebody's store: `$NAME` is its DID, if that has none, `$NAME_KEY` its verkey."""
        where = f"store:{who}.db#{name.lower()}"
        out = await self.desk.types(who, f"key new {where} --json", told=told)
        self.know(name, where, out)

    def know(self, name: str, where: str, shown: str) -> None:
        """Note a key by what `indykeep` shows of it as JSON: its DID, its verkey and where it is."""
        key = json.loads(shown)
        self.desk.names |= {
            name: key["did"],
            f"{name}_KEY": key["verkey"],
            f"{name}_WITH": where,
        }


# -- 1: keys and seats -------------------------------------------------------------------------


async def make_keys(council: Council) -> None:
    """Give everybody a key of another kind: stores, a token, a group."""
    desk, screen = council.desk, council.desk.screen
    screen.act("2. Five trustees make their keys")
    seed = desk.folder / "ana.seed"
    seed.touch(0o600)
    seed.write_text(SEED)
    where = "store:ana.db#ana"
    council.know(
        "ANA", where, await desk.types("ana", f"key import {where} --seed-file ana.seed --json")
    )
    screen.done("Ana was the only trustee until now: her key, in an encrypted store")
    await _make_ben(council)
    for one in ("cas", "dee"):
        await council.new_key(one, one.upper())
    screen.done("Cas and Dee: encrypted stores")
    await _make_group(council)
    names = ("ANA", "BEN", "CAS", "DEE")
    board = " ".join(f"--cosigner {one.capitalize()}={desk.names[one]}" for one in names)
    desk.names["BOARD"] = f"{board} --group eli.json"


async def _make_ben(council: Council) -> None:
    """In a token, where there is one to be had."""
    desk, screen = council.desk, council.desk.screen
    council.token = await asyncio.to_thread(_token, desk.folder)
    if not council.token:
        await council.new_key("ben", "BEN")
        screen.done("Ben: an encrypted store (no SoftHSM2 is installed, else it were a token)")
        return
    where = f"pkcs11:token=board;object=ben?module-path={LIBRARY}"
    desk.names["BEN_WITH"] = where
    council.know("BEN", where, await desk.types("ben", 'key new "$BEN_WITH" --json'))
    screen.done("Ben: a token (SoftHSM2), made inside; the key never leaves it")


def _token(folder: Path) -> bool:
    """Make an empty token `board`, if that can be done on this machine."""
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
    # what a PIN protects is this folder's, and it goes away with it: a command line may show it
    words = ("--init-token", "--free", "--label", "board", "--so-pin", PIN, "--pin", PIN)
    subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
    return True


async def _make_group(council: Council) -> None:
    """Eli's seat: three people make a key together, and nobody ever has it whole."""
    desk, screen = council.desk, council.desk.screen
    (desk.folder / "post").mkdir()
    start = "group begin eli --name Eli --members 3 --threshold 2 --me 1 --out post"
    await desk.types("eli", start)
    for me, one in ((2, "eva"), (3, "eno")):
        join = f"group begin {one} --join post/round1-1.json --me {me} --out post"
        await desk.types(one, join, told=me == 2)  # noqa: PLR2004
    digests: set[str] = set()
    for one in ("eli", "eva", "eno"):
        dealt = await desk.types(one, f"group deal {one} post --out post", told=one == "eli")
        digests.add(" ".join(_DIGEST.findall(dealt)))
    claim(len(digests) == 1 and "" not in digests, "all three read the same digest aloud")
    desk.names["DIGEST"] = digests.pop()
    for one in ("eli", "eva", "eno"):
        line = f'group finish {one} post --transcript "$DIGEST"'
        await desk.types(one, line, told=one == "eli")
    exported = await desk.types("eli", "group export eli")
    (desk.folder / "eli.json").write_text(exported)
    described = Descriptor.from_text(exported)
    assert described.group is not None
    assert described.did is not None
    desk.names |= {"ELI": Did.parse(described.did).id, "ELI_KEY": described.group.verkey}
    desk.names |= {f"{one.upper()}_WITH": f"frost:{one}" for one in ("eli", "eva", "eno")}
    screen.done("Eli's seat: a key of which any 2 of 3 people sign, and that nobody has whole")


async def take_seats(council: Council) -> None:
    """Register the four others, and put 3 of 5 in force: the last that Ana does alone."""
    desk, screen = council.desk, council.desk.screen
    screen.act("3. Ana, alone for the last time, seats the others and puts 3 of 5 in force")
    for one in ("BEN", "CAS", "DEE", "ELI"):
        told, file = one == "BEN", f"{one.lower()}.psit"
        line = f"propose nym --did ${one} --verkey ${one}_KEY --role TRUSTEE --author $ANA"
        await desk.types("ana", f"{line} --cosigner Ana=$ANA --out {file}", told=told)
        sign = f'sign {file} --with "$ANA_WITH" --yes'
        await desk.types("ana", sign, told=told)
        await council.land("ana", file, told=told)
        claim(await council.told(one, f"{one}_KEY", TRUSTEE), f"{one} is a trustee")
    screen.done("Ben, Cas, Dee and Eli are trustees, each by such three lines")
    await desk.types("ana", "govern init --preset 3-of-5 --out board.yaml")
    line = "govern propose board.yaml --author $ANA --cosigner Ana=$ANA --out rules.psit"
    await desk.types("ana", line)
    await council.approve("rules.psit", "ana")
    await council.land("ana", "rules.psit")
    await _in_force(council)


async def _in_force(council: Council) -> None:
    """Read every rule of the ledger, with proofs: two trustees, who own nothing, meet none."""
    rules = await auth_rules.read_rules(council.client.pool, None)
    two = [Signer(f"trustee {n}", TRUSTEE, owner=False) for n in range(QUORUM - 1)]
    weak = [key.text for key, rule in rules.items() if satisfied(rule, two)]
    claim(not weak, f"two trustees meet no rule, not even {', '.join(weak)}")
    three = [*two, Signer("one more", TRUSTEE, owner=False)]
    met = [rule for rule in rules.values() if satisfied(rule, three)]
    claim(met, "three trustees can do something")
    words = (
        f"all {len(rules)} rules were read again: two trustees meet none, three meet {len(met)}"
    )
    council.desk.screen.done(words)
    council.desk.happened("3 of 5 in force", f"{len(met)} rules, in one write")


# -- 2: a proposal travels -----------------------------------------------------------------------


async def travel(council: Council) -> None:
    """Three of five approve a new endorser: by file, picture, token, and in two rounds."""
    desk, screen = council.desk, council.desk.screen
    screen.act("4. A proposal travels: Acme shall be an endorser")
    await council.new_key("acme", "ACME")
    line = "propose nym --did $ACME --verkey $ACME_KEY --role ENDORSER --author $ANA $BOARD"
    more = '--memo "Acme issues licences" --out endorser.psit --qr endorser.png'
    await desk.types("ana", f"{line} {more}")
    pictures = sorted(path.name for path in desk.folder.glob("endorser*.png"))
    claim(pictures, "the proposal is a picture, too")
    await desk.types("ana", 'sign endorser.psit --with "$ANA_WITH" --out 1.psit --yes')
    photo = " ".join(pictures)
    await desk.types("ben", f'sign {photo} --with "$BEN_WITH" --out 2.psit --yes')
    screen.done(f"Ben read it from a QR code ({photo}), and signed with {_bens(council)}")
    why = "I have seen no contract"
    line = f'refuse endorser.psit --with "$DEE_WITH" --reason "{why}" --out 4.psit'
    await desk.types("dee", line)
    await desk.refused("ana", "submit 1.psit --yes", says="two more trustees")
    screen.done("with Ana's signature alone it cannot be sent: two more trustees")
    await _in_rounds(council, "endorser.psit", "5.psit")
    screen.done("Eli's group signed in two rounds: one ordinary signature came out")
    await desk.types("ana", "merge 1.psit 2.psit 4.psit 5.psit --out endorser.psit")
    told = " ".join((await desk.types("ana", "show endorser.psit")).split())
    claim(why in told, "everybody reads why Dee refuses")
    claim("nothing: it can be submitted" in told, "Ana, Ben and Eli are enough")
    screen.quote("Dee", why)
    await council.land("ana", "endorser.psit")
    claim(await council.told("ACME", "ACME_KEY", ENDORSER), "Acme is an endorser")
    screen.done("it landed, and what landed was compared with what they approved")
    desk.happened(
        "Acme an endorser", "Ana, Ben and Eli signed, Dee refused; landed as approved"
    )


def _bens(council: Council) -> str:
    return "a token" if council.token else "a key in a store"


async def _in_rounds(council: Council, file: str, out: str) -> None:
    """Let two of Eli's three sign: both commit, then both sign."""
    desk = council.desk
    first = f'sign {file} --with "$ELI_WITH" --out {out} --yes'
    await desk.types("eli", first)
    said = ""
    for one in ("eno", "eli", "eno"):
        said = await desk.types(one, f'sign {out} --with "${one.upper()}_WITH" --yes')
    claim("round 2 of 2: signed (2 of 2)" in said, "two of three made one signature")


# -- 3: a lost key -------------------------------------------------------------------------------


async def recover(council: Council) -> None:
    """Cas's laptop is stolen: three others give his DID a new key, and the old one is dead."""
    desk, screen = council.desk, council.desk.screen
    screen.act("6. Cas's laptop is stolen, with his key")
    for end in ("db", "key"):
        (desk.folder / f"cas.{end}").rename(desk.folder / f"thief.{end}")
    desk.names["THIEF_WITH"] = "store:thief.db#cas"
    await council.new_key("cas", "CAS_NEW")
    line = (
        "propose nym --did $CAS --verkey $CAS_NEW_KEY --author $DEE $BOARD --out cas-new.psit"
    )
    await desk.types("dee", line)
    await council.approve("cas-new.psit", "dee", "ben")
    await desk.refused("dee", "submit cas-new.psit --yes", says="one more trustee")
    screen.done(
        "two are not enough to replace a key: recovery asks for as many as all the rest"
    )
    await council.approve("cas-new.psit", "ana")
    await council.land("ana", "cas-new.psit")
    claim(
        await council.told("CAS", "CAS_NEW_KEY", TRUSTEE), "Cas has the new key, and his seat"
    )
    screen.done("Cas's DID and seat stay; its key is the new one")
    desk.happened("Cas's key lost", "Ana, Ben and Dee gave his DID a new one")
    await _too_late(council)
    await _again(council)


async def _too_late(council: Council) -> None:
    """The thief tries the old key, by our commands and past them."""
    desk, screen = council.desk, council.desk.screen
    desk.names["CAS_WITH"] = desk.names["CAS_NEW_WITH"]
    line = "propose nym --did $CAS --verkey $CAS_KEY --author $CAS --cosigner Cas=$CAS"
    await desk.types("thief", f"{line} --out back.psit")
    sign = 'sign back.psit --with "$THIEF_WITH" --yes'
    await desk.refused("thief", sign, says="is no cosigner's here")
    request = council.proposal("back.psit").request
    key_file = desk.folder / "thief.key"

    def stolen() -> bytes:
        with open_signer(desk.names["THIEF_WITH"], key_file) as signer:
            return signer.sign(request.signing_input)

    signature = await asyncio.to_thread(stolen)
    why = await council.straight(request.body, {request.author: signature})
    screen.done(f"the thief's old key is dead. The ledger: {why}")
    desk.happened("the old key", "dead: refused by the commands and by the ledger")


async def _again(council: Council) -> None:
    """What went stale is made anew, and Cas's new key counts."""
    desk, screen = council.desk, council.desk.screen
    await desk.types("ana", "propose renew stale.psit --out anew.psit")
    await council.approve("anew.psit", "ana", "cas", "dee")
    await council.land("dee", "anew.psit")
    claim(await council.told("ACME", "ACME_NEW_KEY", None), "Acme's role is gone")
    screen.done("the stale proposal, made anew, is signed by Ana, Dee and Cas with his new key")
    desk.happened("Acme's role taken", "Ana, Cas (new key) and Dee; landed as approved")


# -- 4: the books ----------------------------------------------------------------------------------


async def audit(council: Council) -> None:
    """Whatever was written about Cas, from the ledger alone, explained by proposals."""
    desk, screen = council.desk, council.desk.screen
    screen.act("7. The books")
    out = await desk.types("dee", "audit $CAS --proposals . --cache cache")
    verdict = out.strip().splitlines()[-1]
    claim(verdict.startswith("Nothing wrong"), "every write was approved, every signature fits")
    screen.done(
        f"from the ledger alone, all that Cas's DID did and all that was done to it. {verdict}"
    )
    desk.happened("audit of Cas's DID", "every write was approved, every signature fits")
