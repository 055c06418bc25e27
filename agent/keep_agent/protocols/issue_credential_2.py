"""Issue credential 2.0: propose, offer, request, issue, ack (Aries RFC 0453; 0592, 0771).

Messages are parsed and committed at once. What takes time, reads of the ledger and cryptography, is in
commands, which a policy may run automatically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar
from typing import Protocol as Port

from pydantic import Field

from keep_agent.core.machine import (
    ABANDONED,
    START,
    Command,
    Data,
    Exchange,
    Expired,
    Protocol,
    Put,
    ReportProblem,
    Role,
    Step,
    abandoning,
    rule,
)
from keep_agent.core.message import Ack, Attachments, Json, Message, ProblemReport, Wire
from keep_agent.credentials.formats import (
    CREDENTIAL,
    FILTER,
    OFFER,
    REQUEST,
    Family,
    Filter,
    Formats,
    Ids,
    attach,
    attached,
    read_filter,
    too_long,
    write_filter,
)
from keep_agent.errors import TOO_LONG, BadCommandError, BadMessageError, RefusedError

URI = "https://didcomm.org/issue-credential/2.0"
PREVIEW = f"{URI}/credential-preview"
WEEK_S = 7 * 24 * 3600.0
MOST_ATTRIBUTES = 256
"""How many attributes a preview may have; a schema has at most 125."""

AttributeName = Annotated[str, Field(min_length=1, max_length=256)]
Values = dict[AttributeName, str]
"""Raw values by attribute name."""


# -- messages ----------------------------------------------------------------------------------


class PreviewAttribute(Wire):
    """One attribute as it is to be issued."""

    name: AttributeName
    value: str
    mime_type: str | None = None


class Preview(Wire):
    """The attributes and values to be issued; the holder compares the credential with them."""

    type_: str = Field(default=PREVIEW, alias="@type")
    attributes: Annotated[
        tuple[PreviewAttribute, ...], Field(max_length=MOST_ATTRIBUTES, fail_fast=True)
    ]

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Preview:
        """Write values as a preview."""
        return cls(
            attributes=tuple(PreviewAttribute(name=n, value=v) for n, v in values.items())
        )

    @property
    def values(self) -> Values:
        """The values by attribute name.

        Raises:
            BadMessageError: an attribute occurs twice.
        """
        found = {each.name: each.value for each in self.attributes}
        if len(found) != len(self.attributes):
            raise BadMessageError("the preview names an attribute twice")
        return found


class ProposeCredential(Message):
    """The holder proposes a credential, or another one than was offered."""

    TYPE: ClassVar[str] = f"{URI}/propose-credential"
    comment: str | None = None
    credential_preview: Preview | None = None
    formats: Formats = ()
    filters__attach: Attachments = ()


class OfferCredential(Message):
    """The issuer offers a credential; a later offer in the same thread replaces an earlier one."""

    TYPE: ClassVar[str] = f"{URI}/offer-credential"
    comment: str | None = None
    credential_preview: Preview
    formats: Formats
    offers__attach: Attachments


class RequestCredential(Message):
    """The holder requests what was offered."""

    TYPE: ClassVar[str] = f"{URI}/request-credential"
    comment: str | None = None
    formats: Formats
    requests__attach: Attachments


class IssueCredential(Message):
    """The issuer sends the credential."""

    TYPE: ClassVar[str] = f"{URI}/issue-credential"
    comment: str | None = None
    formats: Formats
    credentials__attach: Attachments


class CredentialAck(Ack):
    """The holder has stored the credential: it is what was accepted."""

    TYPE: ClassVar[str] = f"{URI}/ack"


# -- commands ----------------------------------------------------------------------------------


class SendProposal(Command):
    """Propose a credential, or answer an offer with another proposal.

    Attributes:
        values: as proposed; None: those of the offer, if there is one.
        filter: the wanted kind (RFC 0771: `cred_def_id`, `issuer_id`, `schema_id`, `schema_issuer_id`,
            `schema_name`, `schema_version`); None: that of the offer, if there is one.
        format: None: that of the offer, else `anoncreds`.
    """

    values: Values | None = None
    filter: Filter | None = None
    format: Family | None = None
    comment: str | None = None


class SendOffer(Command):
    """Offer a credential; a later offer in the same thread replaces an earlier one.

    Attributes:
        cred_def_id: one of ours, in either form; None: the one that was proposed or offered.
        values: None: those that were proposed or offered. A policy without `values` issues
            what a holder proposes.
        format: None: that of the proposal, else `anoncreds`.
        ids: with or without their network; None: as the tenant prefers, else as the definition was
            written. The format `hlindy` has them without.
    """

    cred_def_id: str | None = None
    values: Values | None = None
    format: Family | None = None
    ids: Ids | None = None
    comment: str | None = None


class SendRequest(Command):
    """Accept the offer."""

    comment: str | None = None


class Issue(Command):
    """Issue exactly what was offered."""

    comment: str | None = None


class StoreCredential(Command):
    """Check that the credential is what was accepted, and store it.

    Attributes:
        credential_id: the name under which it is held, which does not begin with a dot: it stands in
            paths; None: the id of the exchange.
    """

    credential_id: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,99}$")] | None
    ) = None


# -- port --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OfferOrRequest:
    """An offer or a request of ours.

    Attributes:
        attachment: to send.
        kept: what the port needs when the answer comes; secret.
        writes: what the port is to remember, whatever the answer.
    """

    attachment: Json = field(repr=False)
    kept: Json = field(repr=False)
    writes: tuple[Put, ...] = ()


class Credentials(Port):
    """AnonCreds for issuer and holder: reads and computes, stores nothing.

    Every method may raise UnavailableError: a ledger did not answer, or cryptography took too long.
    """

    async def offer(
        self, wanted: Filter, values: Values, family: Family, ids: Ids | None
    ) -> OfferOrRequest:
        """Make an offer with a credential definition of ours.

        Args:
            wanted: what the definition must be, by the keys of `formats.Filter`; ids in either form.
            values: to be issued.
            ids: the form of the ids in the offer; None: as preferred, else as they were written.

        Raises:
            BadCommandError: none or several of ours fit, the values do not fit, or the family does
                not have that form of ids.
        """
        ...

    async def request(self, offer: Json, values: Values) -> OfferOrRequest:
        """Make the request for an offer, after comparing the offer with the ledger.

        Args:
            values: of its preview.

        Raises:
            RefusedError: the offer is wrong (SEC-I04, SEC-I05).
        """
        ...

    async def issue(self, kept: Json, request: Json, values: Values) -> Json:
        """Sign a credential.

        Args:
            kept: of our offer.

        Raises:
            RefusedError: the request does not answer this offer (SEC-I01).
        """
        ...

    async def check(self, name: str, credential: Json, kept: Json, values: Values) -> Put:
        """Check a credential and return the write that keeps it.

        Args:
            name: of the record.
            kept: of our request.
            values: that were accepted.

        Raises:
            BadCommandError: another credential has this name.
            RefusedError: it is not what was accepted (SEC-I04), or not signed by the issuer (SEC-I05).
        """
        ...


# -- roles, states, data -----------------------------------------------------------------------


class Side(Role):
    """Our role in the exchange."""

    ISSUER = "issuer"
    HOLDER = "holder"


class State(StrEnum):
    """The states of RFC 0453, for both roles."""

    PROPOSAL_SENT = "proposal-sent"
    PROPOSAL_RECEIVED = "proposal-received"
    OFFER_SENT = "offer-sent"
    OFFER_RECEIVED = "offer-received"
    REQUEST_SENT = "request-sent"
    REQUEST_RECEIVED = "request-received"
    ISSUED = "credential-issued"
    RECEIVED = "credential-received"
    DONE = "done"


class Issuance(Data):
    """What both sides keep; what is not needed any more is removed.

    Attributes:
        format: the family of the exchange, from the first attachment on; that of the request, once there is one.
        wanted: what was proposed, by the keys of `formats.Filter`.
        values: the last that were proposed or offered; from the request on, those accepted.
        cred_def_id: as offered.
        comment: the peer's last comment: untrusted text.
        offer: for a holder, the offer until it is answered; for an issuer, `OfferOrRequest.kept`.
        request: for an issuer, until the credential is issued.
        kept: for a holder, `OfferOrRequest.kept` of the request, until the credential is stored.
        credential: for a holder, until it is checked.
        stored: for a holder, name of the record.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"offer", "request", "kept", "credential"})

    format: Family | None = None
    wanted: Filter = Field(default={})
    values: Values = Field(default={}, repr=False)
    cred_def_id: str | None = None
    schema_id: str | None = None
    comment: str | None = None
    offer: Json | None = Field(default=None, repr=False)
    request: Json | None = Field(default=None, repr=False)
    kept: Json | None = Field(default=None, repr=False)
    credential: Json | None = Field(default=None, repr=False)
    stored: str | None = None


X = Exchange[Issuance]


# -- issuer ------------------------------------------------------------------------------------


async def keep_proposal(x: X, msg: ProposeCredential, _: Credentials) -> Step[Issuance]:
    """Keep the proposal; it replaces an offer of ours."""
    family: Family | None = x.data.format
    wanted: Filter = {}
    if msg.formats:
        family, content = await attached(msg.formats, msg.filters__attach, FILTER)
        wanted = read_filter(content)
    preview = msg.credential_preview
    data = x.data.but(
        format=family,
        wanted=wanted or x.data.wanted,
        values=preview.values if preview else x.data.values,
        comment=msg.comment,
        offer=None,
    )
    return Step(State.PROPOSAL_RECEIVED, data)


async def send_offer(x: X, cmd: SendOffer, zkp: Credentials) -> Step[Issuance]:
    """Send an offer; what the command leaves out is taken from the proposal or the last offer."""
    family: Family = cmd.format or x.data.format or "anoncreds"
    wanted: Filter = x.data.wanted
    if cmd.cred_def_id is not None:
        wanted = {"cred_def_id": cmd.cred_def_id}
    values = x.data.values if cmd.values is None else cmd.values
    if not wanted or not values:
        raise BadCommandError("an offer needs cred_def_id and values: nothing was proposed")
    if words := too_long(values):
        raise BadCommandError(words)
    offered = await zkp.offer(wanted, values, family, cmd.ids)
    form, attachment = attach(offered.attachment, family, OFFER)
    data = x.data.but(
        format=family,
        wanted=wanted,
        values=values,
        offer=offered.kept,
        cred_def_id=offered.attachment["cred_def_id"],
        schema_id=offered.attachment["schema_id"],
    )
    offer = OfferCredential(
        comment=cmd.comment,
        credential_preview=Preview.of(values),
        formats=(form,),
        offers__attach=(attachment,),
    )
    return Step(State.OFFER_SENT, data, send=(offer,))


async def keep_request(x: X, msg: RequestCredential, _: Credentials) -> Step[Issuance]:
    """Keep the request until our side issues (SEC-I01 is checked then, by the port)."""
    family, request = await attached(msg.formats, msg.requests__attach, REQUEST, x.data.format)
    data = x.data.but(format=family, request=request, comment=msg.comment)
    return Step(State.REQUEST_RECEIVED, data)


async def issue(x: X, cmd: Issue, zkp: Credentials) -> Step[Issuance]:
    """Issue exactly the values that were offered; a command cannot give other values (SEC-I03)."""
    assert x.data.format is not None
    assert x.data.offer is not None
    assert x.data.request is not None
    credential = await zkp.issue(x.data.offer, x.data.request, x.data.values)
    form, attachment = attach(credential, x.data.format, CREDENTIAL)
    message = IssueCredential(
        comment=cmd.comment,
        formats=(form,),
        credentials__attach=(attachment,),
        please_ack={"on": ["OUTCOME"]},
    )
    return Step(State.ISSUED, x.data.but(offer=None, request=None), send=(message,))


async def finish(_x: X, msg: CredentialAck, _: Credentials) -> Step[Issuance]:
    """Note whether the holder has stored the credential, or does not know yet (RFC 0015)."""
    if msg.failed:
        return Step(ABANDONED, error="the holder did not accept it")
    return Step(State.ISSUED if msg.pending else State.DONE)


async def note_refusal(_x: X, report: ProblemReport, _: Credentials) -> Step[Issuance]:
    """Note that the holder did not accept the credential."""
    return Step(ABANDONED, error=f"the holder did not accept it: peer reports: {report.words}")


async def report_undelivered(_x: X, cmd: ReportProblem, _: Credentials) -> Step[Issuance]:
    """End the exchange: the credential did not reach the holder, or is not to be used."""
    report = ProblemReport.of(cmd.code, cmd.comment)
    return Step(ABANDONED, send=(report,), error=cmd.comment or cmd.code)


async def stop_waiting(_x: X, _cmd: Expired, _: Credentials) -> Step[Issuance]:
    """End the exchange without an ack: the credential is issued."""
    return Step(State.DONE, error="no ack came in time")


# -- holder ------------------------------------------------------------------------------------


async def send_proposal(x: X, cmd: SendProposal, _: Credentials) -> Step[Issuance]:
    """Send a proposal; what the command leaves out is taken from the offer."""
    family: Family = cmd.format or x.data.format or "anoncreds"
    offered: Filter = (
        {"cred_def_id": x.data.cred_def_id} if x.data.cred_def_id else x.data.wanted
    )
    wanted = offered if cmd.filter is None else cmd.filter
    values = x.data.values if cmd.values is None else cmd.values
    if words := too_long(values):
        raise BadCommandError(words)
    form, attachment = attach(write_filter(wanted, family), family, FILTER)
    proposal = ProposeCredential(
        comment=cmd.comment,
        credential_preview=Preview.of(values) if values else None,
        formats=(form,),
        filters__attach=(attachment,),
    )
    data = x.data.but(format=family, wanted=wanted, values=values, offer=None)
    return Step(State.PROPOSAL_SENT, data, send=(proposal,))


async def keep_offer(x: X, msg: OfferCredential, _: Credentials) -> Step[Issuance]:
    """Keep the offer for a decision; it is compared with the ledger when it is accepted."""
    family, offer = await attached(msg.formats, msg.offers__attach, OFFER)
    values = msg.credential_preview.values
    if words := too_long(values):
        raise RefusedError(words, TOO_LONG)
    data = x.data.but(
        format=family,
        values=values,
        comment=msg.comment,
        offer=offer,
        cred_def_id=_text(offer, "cred_def_id"),
        schema_id=_text(offer, "schema_id"),
    )
    return Step(State.OFFER_RECEIVED, data)


async def send_request(x: X, cmd: SendRequest, zkp: Credentials) -> Step[Issuance]:
    """Send the request: from here on the values are fixed."""
    assert x.data.format is not None
    assert x.data.offer is not None
    requested = await zkp.request(x.data.offer, x.data.values)
    form, attachment = attach(requested.attachment, x.data.format, REQUEST)
    request = RequestCredential(
        comment=cmd.comment, formats=(form,), requests__attach=(attachment,)
    )
    data = x.data.but(offer=None, kept=requested.kept)
    return Step(State.REQUEST_SENT, data, send=(request,), writes=requested.writes)


async def keep_credential(x: X, msg: IssueCredential, _: Credentials) -> Step[Issuance]:
    """Keep the credential, unchecked and unused, until `store` has checked it."""
    _family, credential = await attached(
        msg.formats, msg.credentials__attach, CREDENTIAL, x.data.format
    )
    data = x.data.but(credential=credential, comment=msg.comment)
    return Step(State.RECEIVED, data)


async def store(x: X, cmd: StoreCredential, zkp: Credentials) -> Step[Issuance]:
    """Check the credential, store it and send the ack; a wrong one is refused and not stored."""
    assert x.data.credential is not None
    assert x.data.kept is not None
    put = await zkp.check(
        cmd.credential_id or x.id, x.data.credential, x.data.kept, x.data.values
    )
    data = x.data.but(credential=None, kept=None, stored=put.name)
    return Step(State.DONE, data, send=(CredentialAck(),), writes=(put,))


def _text(content: Json, key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str):
        raise BadMessageError(f"the attachment has no {key}")
    return value


_ISSUER_OPEN = (State.PROPOSAL_RECEIVED, State.OFFER_SENT, State.REQUEST_RECEIVED)
_HOLDER_OPEN = (
    State.PROPOSAL_SENT,
    State.OFFER_RECEIVED,
    State.REQUEST_SENT,
    State.RECEIVED,
)
_ANSWERED = (State.ISSUED, State.DONE, ABANDONED)  # still issued while the ack is pending

# fmt: off
PROTOCOL: Protocol[Credentials] = Protocol(
    uri=URI, data=Issuance, port="credentials", expires_s=WEEK_S, rules=(
    #    role         at                       on                 to                       do
    rule(Side.ISSUER, START,                   ProposeCredential, State.PROPOSAL_RECEIVED, keep_proposal),
    rule(Side.ISSUER, START,                   SendOffer,         State.OFFER_SENT,        send_offer),
    rule(Side.ISSUER, State.PROPOSAL_RECEIVED, SendOffer,         State.OFFER_SENT,        send_offer),
    rule(Side.ISSUER, State.PROPOSAL_RECEIVED, ProposeCredential, State.PROPOSAL_RECEIVED, keep_proposal),
    rule(Side.ISSUER, State.OFFER_SENT,        ProposeCredential, State.PROPOSAL_RECEIVED, keep_proposal),
    rule(Side.ISSUER, State.OFFER_SENT,        SendOffer,         State.OFFER_SENT,        send_offer),
    rule(Side.ISSUER, State.OFFER_SENT,        RequestCredential, State.REQUEST_RECEIVED,  keep_request),
    rule(Side.ISSUER, State.REQUEST_RECEIVED,  Issue,             State.ISSUED,            issue),
    rule(Side.ISSUER, State.ISSUED,            CredentialAck,     _ANSWERED,               finish),
    rule(Side.ISSUER, State.ISSUED,            ReportProblem,     ABANDONED,               report_undelivered),
    rule(Side.ISSUER, State.ISSUED,            ProblemReport,     ABANDONED,               note_refusal),
    rule(Side.ISSUER, State.ISSUED,            Expired,           State.DONE,              stop_waiting),
    rule(Side.HOLDER, START,                   SendProposal,      State.PROPOSAL_SENT,     send_proposal),
    rule(Side.HOLDER, START,                   OfferCredential,   State.OFFER_RECEIVED,    keep_offer),
    rule(Side.HOLDER, State.PROPOSAL_SENT,     SendProposal,      State.PROPOSAL_SENT,     send_proposal),
    rule(Side.HOLDER, State.PROPOSAL_SENT,     OfferCredential,   State.OFFER_RECEIVED,    keep_offer),
    rule(Side.HOLDER, State.OFFER_RECEIVED,    SendProposal,      State.PROPOSAL_SENT,     send_proposal),
    rule(Side.HOLDER, State.OFFER_RECEIVED,    OfferCredential,   State.OFFER_RECEIVED,    keep_offer),
    rule(Side.HOLDER, State.OFFER_RECEIVED,    SendRequest,       State.REQUEST_SENT,      send_request),
    rule(Side.HOLDER, State.REQUEST_SENT,      IssueCredential,   State.RECEIVED,          keep_credential),
    rule(Side.HOLDER, State.RECEIVED,          StoreCredential,   State.DONE,              store),
    *abandoning(Side.ISSUER, _ISSUER_OPEN),
    *abandoning(Side.HOLDER, _HOLDER_OPEN),
))
# fmt: on
