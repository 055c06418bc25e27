"""The verifiable data registry as a port: what is read, what is written, and how a write may end.

A write takes four steps, so that it survives a crash between any two: `find` (is it there already?),
`prepare` (fix the exact bytes), sign and store them, `submit`, `confirm`. Keys stay with the caller:
a registry sees DIDs and signatures only. Ids are accepted in both forms (`identifiers`), and an answer
uses the form of its question, because AnonCreds objects refer to each other by text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol, Self

from keep_ledger.codes import Role
from keep_ledger.json_object import Json
from keep_ledger.writes import Write, write_from_json, write_to_json

_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Nym:
    """A DID as the ledger has it.

    Attributes:
        verkey: base58 of 32 bytes, never abbreviated; None when the ledger has none (retired).
        seq_no: of its last transaction. Its author need not be allowed to change anything.
        diddoc_content: what its owner adds to its document (`diddocContent` of a NYM, did:indy method).
    """

    did: str
    verkey: str | None
    role: Role | None
    seq_no: int | None
    diddoc_content: Json | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as written; immutable.

    Attributes:
        seq_no: its place in the domain ledger, from 1; part of credential definition ids.
    """

    id: str
    issuer_id: str
    name: str
    version: str
    attr_names: tuple[str, ...]
    seq_no: int

    @property
    def anoncreds(self) -> str:
        """The JSON text that an AnonCreds library takes (AnonCreds specification, Schema)."""
        body = {"issuerId": self.issuer_id, "name": self.name, "version": self.version}
        return json.dumps(body | {"attrNames": list(self.attr_names)})


@dataclass(frozen=True, slots=True)
class CredDef:
    """A credential definition as written; taken as immutable.

    Attributes:
        schema_id: in the same form as `id`.
        value: JSON text of the public keys: an object with `primary` and perhaps `revocation`.
    """

    id: str
    issuer_id: str
    schema_id: str
    tag: str
    value: str
    seq_no: int

    @property
    def anoncreds(self) -> str:
        """The JSON text that an AnonCreds library takes (AnonCreds specification, CredDef)."""
        head = {"issuerId": self.issuer_id, "schemaId": self.schema_id}
        text = json.dumps(head | {"type": "CL", "tag": self.tag})
        return f'{text[:-1]}, "value": {self.value}}}'


@dataclass(frozen=True, slots=True)
class Resolved:
    """A DID with its document.

    Attributes:
        endpoint: the agent's URL: of the first service for DIDComm v1 that has one, by priority.
        routing_keys: of that service, as they are written: base58 or did:key.
        document: the whole DID document; its services are those of `diddocContent`, else those that the
            ATTRIB named `endpoint` stands for.
    """

    did: str
    verkey: str
    endpoint: str | None
    routing_keys: tuple[str, ...]
    document: Json


@dataclass(frozen=True, slots=True)
class Taa:
    """The transaction author agreement in force.

    Attributes:
        digest: hex SHA-256 of version and text.
        mechanisms: the ways to accept it, label to explanation (the ledger's AML).
    """

    text: str
    version: str
    digest: str
    mechanisms: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TaaAcceptance:
    """An acceptance of an agreement by an author; it becomes part of what is signed.

    Attributes:
        day: when, as Unix seconds of a midnight in UTC; the ledger refuses a finer time.
    """

    digest: str
    mechanism: str
    day: int

    @classmethod
    def of(cls, taa: Taa, mechanism: str, at: datetime) -> Self:
        """Accept `taa` at that time (rounded down to the day).

        Raises:
            ValueError: the ledger does not list the mechanism, or `at` has no time zone.
        """
        if mechanism not in taa.mechanisms:
            raise ValueError(f"{mechanism!r} is not one of {', '.join(taa.mechanisms)}")
        if at.tzinfo is None:
            raise ValueError("the time of acceptance needs a time zone")
        midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(taa.digest, mechanism, int(midnight.timestamp()))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready to be signed; store it with the signatures and resubmit exactly this.

    Attributes:
        namespace: the network that it is for.
        submitter: bare id of the author, who must sign.
        endorser: bare id of the DID that must sign too, or None.
        request: the JSON text that will be sent, without signatures.
        signing_input: the bytes that each signer signs with Ed25519.
    """

    write: Write
    namespace: str
    submitter: str
    endorser: str | None
    request: str
    signing_input: bytes

    def unsigned(self, signatures: Mapping[str, bytes]) -> Failed | NeedsSignatures | None:
        """What is wrong with these signatures before any ledger sees them; None: nothing.

        Args:
            signatures: by bare id.
        """
        needed = [did for did in (self.submitter, self.endorser) if did]
        missing = tuple(did for did in needed if did not in signatures)
        if missing:
            return NeedsSignatures(f"{' and '.join(missing)} must sign", missing)
        if any(len(signature) != _SIGNATURE_BYTES for signature in signatures.values()):
            return Failed(Why.MALFORMED, f"an Ed25519 signature has {_SIGNATURE_BYTES} bytes")
        return None

    def to_json(self) -> Json:
        """Write it as an object of plain JSON values."""
        return {
            "write": write_to_json(self.write),
            "namespace": self.namespace,
            "submitter": self.submitter,
            "endorser": self.endorser,
            "request": self.request,
            "signing_input": base64.b64encode(self.signing_input).decode(),
        }

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Read back what `to_json` wrote.

        Raises:
            BadWriteError: the write in it does not parse.
            KeyError: a member is missing.
        """
        return cls(
            write_from_json(body["write"]),
            body["namespace"],
            body["submitter"],
            body["endorser"],
            body["request"],
            base64.b64decode(body["signing_input"], validate=True),
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """The write is on the ledger.

    Attributes:
        id: of the object, in the form in which the write named its DID.
        seq_no: of its transaction in the domain ledger.
    """

    id: str
    seq_no: int | None


class Why(StrEnum):
    """Why a write failed, as far as a program acts on it."""

    CONFLICT = "conflict"
    """Another object is on the ledger under this id: sending it again cannot help."""
    REFUSED = "refused"
    """The ledger's rules forbid it: somebody must change roles or rules."""
    AGREEMENT = "agreement"
    """The author agreement is not accepted, or wrongly, or no longer: accept, prepare and sign again."""
    MALFORMED = "malformed"
    """The ledger cannot read the request, or a signature on it does not verify."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The write is not on the ledger, and sending it again would not change that.

    Attributes:
        reason: a sentence for people, with the ledger's own words where there are any.
    """

    why: Why
    reason: str


@dataclass(frozen=True, slots=True)
class NeedsSignatures:
    """The write is valid, but more or other DIDs must sign it.

    Attributes:
        reason: says in words what is missing.
        signers: bare ids known to be missing; empty when only their role is known.
    """

    reason: str
    signers: tuple[str, ...]


Result = Finished | Failed | NeedsSignatures


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """Whether a ledger answered when it was last asked.

    Attributes:
        answers: None until it has been asked.
        nodes: validators known; 0 before the first contact.
        since: when `answers` became what it is.
        last_error: the last failure, in words; stays when the ledger answers again.
    """

    namespace: str
    answers: bool | None
    nodes: int
    since: datetime | None
    last_error: str | None


class Registry(Protocol):
    """One ledger. Every method may raise LedgerUnavailableError, within a bounded time."""

    @property
    def namespace(self) -> str:
        """Its did:indy namespace."""
        ...

    async def get_nym(self, did: str) -> Nym | None:
        """Read a DID; None if the ledger proves that it has none."""
        ...

    async def get_attrib(self, did: str, name: str) -> Json | None:
        """Read the raw attribute `name`: the whole object, `{name: ...}`."""
        ...

    async def get_schema(self, schema_id: str) -> Schema | None:
        """Read a schema; a found one is cached, an absent one never."""
        ...

    async def get_cred_def(self, cred_def_id: str) -> CredDef | None:
        """Read a credential definition, with the schema that its id names by number."""
        ...

    async def resolve(self, did: str) -> Resolved | None:
        """Read the document of this DID; None without a NYM or a key."""
        ...

    async def get_taa(self) -> Taa | None:
        """Read the agreement in force; None if the network has none."""
        ...

    async def prepare(
        self,
        write: Write,
        submitter: str,
        *,
        endorser: str | None = None,
        taa: TaaAcceptance | None = None,
    ) -> Prepared:
        """Fix the bytes of a request.

        Args:
            write: it may name its DIDs in either form.
            submitter: the DID that is its author and thereby the owner of what it creates.
            endorser: a DID with role ENDORSER that signs too, for an author without a role.
            taa: needed where the network has an agreement (`get_taa`).

        Raises:
            BadWriteError: it refers to a schema that is not there, or names another network.
        """
        ...

    async def submit(self, prepared: Prepared, signatures: Mapping[str, bytes]) -> Result:
        """Send it with these signatures (DID to 64 bytes of Ed25519 over `signing_input`).

        It looks for the write first. If it is there already, the result is Finished; if something
        else stands under its id, it is Failed and nothing is sent (an Indy ledger would let an
        issuer overwrite a credential definition). Sending the same again is harmless.

        Raises:
            LedgerUnavailableError: no answer in time. It may still be written: call `find` first.
        """
        ...

    async def find(self, write: Write) -> Finished | Failed | None:
        """Check whether this write is on the ledger: Finished if it is, None if it is not.

        Failed means that another object stands under the same id.
        """
        ...

    async def confirm(self, write: Write) -> Finished | Failed:
        """Read until the write is visible, since a node may lag behind.

        What comes after it may build on it: a later read shows it, whichever node is asked.

        Raises:
            LedgerUnavailableError: it was not visible in time.
        """
        ...

    def status(self) -> LedgerStatus:
        """Return whether it answered when it was last asked; sends nothing."""
        ...

    async def refresh(self) -> LedgerStatus:
        """Ask the ledger for its validators now; does not raise when the ledger is down."""
        ...

    async def close(self) -> None:
        """Close all connections; a second call does nothing."""
        ...
