"""Present proof 2.0: propose, request, present, verify, ack (Aries RFC 0454; 0592, 0771).

Messages are parsed and committed at once. What takes time, reads of the ledger and cryptography, is in
commands, which a policy may run automatically.

The nonce of a request is kept only in its exchange, in the store: it can be answered in this thread, by
this peer, at most once, also after a restart (SEC-P13, SEC-P15, SEC-P16).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar
from typing import Protocol as Port

from pydantic import Field

from keep_agent.core.machine import (
    ABANDONED,
    START,
    Command,
    Data,
    Exchange,
    Protocol,
    Role,
    Step,
    abandoning,
    rule,
)
from keep_agent.core.message import Ack, Attachments, Json, Message, ProblemReport
from keep_agent.credentials.formats import (
    PROOF,
    PROOF_REQUEST,
    Family,
    Formats,
    Ids,
    attach,
    attached,
)
from keep_agent.errors import BadCommandError

URI = "https://didcomm.org/present-proof/2.0"
DAY_S = 24 * 3600.0
NOT_PROVED = "e.p.presentation.refused"
"""Problem-report code for a presentation that does not prove what was requested."""
UNUSED_NONCE = "0"
"""Of a proposal as it is kept: what is asked later has one of our own (SEC-P14)."""


# -- messages ----------------------------------------------------------------------------------


class ProposePresentation(Message):
    """The prover proposes what to prove, or to prove something else than was requested."""

    TYPE: ClassVar[str] = f"{URI}/propose-presentation"
    comment: str | None = None
    formats: Formats
    proposals__attach: Attachments


class RequestPresentation(Message):
    """The verifier sends a request; a later one in the same thread replaces it."""

    TYPE: ClassVar[str] = f"{URI}/request-presentation"
    comment: str | None = None
    will_confirm: bool = False
    present_multiple: bool = False
    formats: Formats
    request_presentations__attach: Attachments


class Presentation(Message):
    """The prover answers the request."""

    TYPE: ClassVar[str] = f"{URI}/presentation"
    comment: str | None = None
    last_presentation: bool = True
    formats: Formats
    presentations__attach: Attachments


class PresentationAck(Ack):
    """The verifier has verified the presentation."""

    TYPE: ClassVar[str] = f"{URI}/ack"


# -- commands ----------------------------------------------------------------------------------


class SendProposal(Command):
    """Propose what to prove; in answer to a request: something else than was requested.

    Attributes:
        request: like a request (AnonCreds specification, presentation request), without nonce.
        format: None: that of the request, else `anoncreds`.
    """

    request: Json
    format: Family | None = None
    comment: str | None = None


class SendRequest(Command):
    """Send a request; a later one in the same thread replaces it.

    Attributes:
        request: what to prove (AnonCreds specification, presentation request); a nonce in it is
            replaced. None: our earlier request, whatever was proposed instead (SEC-P34); if there
            is none, the proposal. A policy always names its own request.
        accept_any_issuer: also allow a request that names no issuer: anybody could be the issuer (SEC-P10).
        format: None: that of the proposal, else `anoncreds`.
        ids: write the ids in restrictions with or without their network; None: as the tenant prefers,
            else as they are. The format `hlindy` has them without. The verdict is always about the
            objects that `request` means.
    """

    request: Json | None = None
    accept_any_issuer: bool = False
    format: Family | None = None
    ids: Ids | None = None
    comment: str | None = None

    def not_by_policy(self) -> str | None:
        """Without a request of its own it would send the proposal: the prover would choose what to prove."""
        return None if self.request else "SEC-P34: a policy must name its own request: request"


class SendPresentation(Command):
    """Answer the request.

    Attributes:
        credentials: by referent, the name of the held credential that answers it; others are chosen.
        self_attested: by referent without restrictions, the value that we claim; never chosen for the caller.
        revealed: by referent of an attribute; false: prove that we hold it and do not show its value.
            Verifiers that asked to see it may refuse that; ours do (SEC-P24).
    """

    credentials: dict[str, str] = Field(default={})
    self_attested: dict[str, str] = Field(default={})
    revealed: dict[str, bool] = Field(default={})
    comment: str | None = None


class Verify(Command):
    """Verify the presentation."""


# -- port --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a verification.

    Attributes:
        why: why it is not accepted, in words for our own side (SEC-P35).
        shown: the whole verdict as JSON: reasons, notices, and by referent the answers.
    """

    ok: bool
    why: str
    shown: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of ours.

    Attributes:
        request: to send.
        meant: the same with its ids as our side gave them, where `request` has another form of them.
    """

    request: Json
    meant: Json | None = None


class Proofs(Port):
    """AnonCreds for verifier and prover: reads and computes, stores nothing.

    Every method may raise UnavailableError: a ledger did not answer, or cryptography took too long.
    """

    async def ask(
        self, request: Json, family: Family, ids: Ids | None, *, accept_any_issuer: bool
    ) -> Asked:
        """Make a request of ours with a fresh nonce of 80 bits (SEC-P14).

        Args:
            ids: the form of the ids in it; None: as preferred, else as they are.

        Raises:
            BadCommandError: it is not a request, or binds no issuer (SEC-P08 to SEC-P11); the family
                does not have that form of ids, or the network of one is not known.
        """
        ...

    async def read(self, request: Json) -> Json:
        """Check a request or proposal of a peer, and return it as it is kept.

        Raises:
            RefusedError: it is not a presentation request.
        """
        ...

    async def present(
        self,
        request: Json,
        family: Family,
        credentials: dict[str, str],
        self_attested: dict[str, str],
        hidden: Collection[str] = (),
    ) -> Json:
        """Answer a request from the wallet.

        Args:
            hidden: referents of attributes whose values are not shown.

        Raises:
            BadCommandError: the wallet cannot answer; the text says why, for our own side only.
        """
        ...

    async def verify(
        self, request: Json, presentation: Json, *, accept_any_issuer: bool
    ) -> Verdict:
        """Verify a presentation; a wrong one leads to a verdict, not to an error."""
        ...


# -- roles, states, data -----------------------------------------------------------------------


class Side(Role):
    """Our role in the exchange."""

    VERIFIER = "verifier"
    PROVER = "prover"


class State(StrEnum):
    """The states of RFC 0454, for both roles."""

    PROPOSAL_SENT = "proposal-sent"
    PROPOSAL_RECEIVED = "proposal-received"
    REQUEST_SENT = "request-sent"
    REQUEST_RECEIVED = "request-received"
    PRESENTATION_SENT = "presentation-sent"
    PRESENTATION_RECEIVED = "presentation-received"
    DONE = "done"


class Proving(Data):
    """What both sides keep; what is not needed any more is removed.

    Attributes:
        format: the family of the exchange, from the first attachment on.
        proposal: like a request; its nonce means nothing.
        request: the last one.
        meant: for a verifier, see `Asked.meant`: what the presentation has to answer.
        accept_any_issuer: as our request was made.
        will_confirm: the verifier promised an ack.
        comment: the peer's last comment: untrusted text.
        presentation: for a verifier, until it is verified.
        verdict: for a verifier: all that is shown of a presentation (SEC-P28).
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"presentation"})

    format: Family | None = None
    proposal: Json | None = None
    request: Json | None = None
    meant: Json | None = None
    accept_any_issuer: bool = False
    will_confirm: bool = False
    comment: str | None = None
    presentation: Json | None = Field(default=None, repr=False)
    verdict: Json | None = Field(default=None, repr=False)


X = Exchange[Proving]


# -- verifier ----------------------------------------------------------------------------------


async def keep_proposal(x: X, msg: ProposePresentation, zkp: Proofs) -> Step[Proving]:
    """Keep the proposal; peers leave its nonce out, which would mean nothing."""
    family, content = await attached(msg.formats, msg.proposals__attach, PROOF_REQUEST)
    proposal = await zkp.read({**content, "nonce": UNUSED_NONCE})
    data = x.data.but(format=family, proposal=proposal, comment=msg.comment)
    return Step(State.PROPOSAL_RECEIVED, data)


async def send_request(x: X, cmd: SendRequest, zkp: Proofs) -> Step[Proving]:
    """Send a request, always with a new nonce of our own (SEC-P14)."""
    family: Family = cmd.format or x.data.format or "anoncreds"
    question = cmd.request or x.data.meant or x.data.request or x.data.proposal
    if question is None:
        raise BadCommandError("there is nothing to request: give request")
    asked = await zkp.ask(question, family, cmd.ids, accept_any_issuer=cmd.accept_any_issuer)
    form, attachment = attach(asked.request, family, PROOF_REQUEST)
    message = RequestPresentation(
        comment=cmd.comment,
        will_confirm=True,
        formats=(form,),
        request_presentations__attach=(attachment,),
    )
    data = x.data.but(
        format=family,
        proposal=None,
        request=asked.request,
        meant=asked.meant,
        accept_any_issuer=cmd.accept_any_issuer,
        will_confirm=True,
    )
    return Step(State.REQUEST_SENT, data, send=(message,))


async def keep_presentation(x: X, msg: Presentation, _: Proofs) -> Step[Proving]:
    """Keep the presentation until it is verified."""
    _family, presentation = await attached(
        msg.formats, msg.presentations__attach, PROOF, x.data.format
    )
    data = x.data.but(presentation=presentation, comment=msg.comment)
    return Step(State.PRESENTATION_RECEIVED, data)


async def verify(x: X, _cmd: Verify, zkp: Proofs) -> Step[Proving]:
    """Verify once; a failed proof ends the exchange too, with a problem report to the prover."""
    assert x.data.request is not None
    assert x.data.presentation is not None
    verdict = await zkp.verify(
        x.data.meant or x.data.request,
        x.data.presentation,
        accept_any_issuer=x.data.accept_any_issuer,
    )
    data = x.data.but(presentation=None, verdict=verdict.shown)
    if verdict.ok:
        return Step(State.DONE, data, send=(PresentationAck(),))
    words = "the presentation does not prove what was requested"
    report = ProblemReport.of(NOT_PROVED, words)
    return Step(State.DONE, data, send=(report,), error=f"{words}: {verdict.why}")


# -- prover ------------------------------------------------------------------------------------


async def send_proposal(x: X, cmd: SendProposal, zkp: Proofs) -> Step[Proving]:
    """Send a proposal; peers expect a nonce in it, so it has one, which is not used."""
    family: Family = cmd.format or x.data.format or "anoncreds"
    asked = await zkp.ask(cmd.request, family, None, accept_any_issuer=True)
    proposal = asked.request
    form, attachment = attach(proposal, family, PROOF_REQUEST)
    message = ProposePresentation(
        comment=cmd.comment, formats=(form,), proposals__attach=(attachment,)
    )
    data = x.data.but(format=family, proposal=proposal, request=None)
    return Step(State.PROPOSAL_SENT, data, send=(message,))


async def keep_request(x: X, msg: RequestPresentation, zkp: Proofs) -> Step[Proving]:
    """Keep the request for a decision."""
    family, request = await attached(
        msg.formats, msg.request_presentations__attach, PROOF_REQUEST
    )
    data = x.data.but(
        format=family,
        request=await zkp.read(request),
        will_confirm=msg.will_confirm,
        comment=msg.comment,
    )
    return Step(State.REQUEST_RECEIVED, data)


async def send_presentation(x: X, cmd: SendPresentation, zkp: Proofs) -> Step[Proving]:
    """Send a presentation; if the wallet has no answer, nothing is sent and the request stays open."""
    assert x.data.format is not None
    assert x.data.request is not None
    hidden = {referent for referent, shown in cmd.revealed.items() if not shown}
    presentation = await zkp.present(
        x.data.request, x.data.format, cmd.credentials, cmd.self_attested, hidden
    )
    form, attachment = attach(presentation, x.data.format, PROOF)
    message = Presentation(
        comment=cmd.comment,
        formats=(form,),
        presentations__attach=(attachment,),
        please_ack={"on": ["OUTCOME"]} if x.data.will_confirm else None,
    )
    to = State.PRESENTATION_SENT if x.data.will_confirm else State.DONE
    return Step(to, send=(message,))


async def finish(_x: X, msg: PresentationAck, _: Proofs) -> Step[Proving]:
    """Note the verifier's ack, which may say that it failed or is not known yet (RFC 0015)."""
    if msg.failed:
        return Step(ABANDONED, error="the verifier did not accept it")
    return Step(State.PRESENTATION_SENT if msg.pending else State.DONE)


_VERIFIER_OPEN = (State.PROPOSAL_RECEIVED, State.REQUEST_SENT, State.PRESENTATION_RECEIVED)
_PROVER_OPEN = (State.PROPOSAL_SENT, State.REQUEST_RECEIVED, State.PRESENTATION_SENT)
_SENT = (State.PRESENTATION_SENT, State.DONE)  # done at once where no ack is promised
_ANSWERED = (
    State.PRESENTATION_SENT,
    State.DONE,
    ABANDONED,
)  # still sent while the ack is pending

# fmt: off
PROTOCOL: Protocol[Proofs] = Protocol(uri=URI, data=Proving, port="proofs", expires_s=DAY_S, rules=(
    #    role           at                           on                   to                           do
    rule(Side.VERIFIER, START,                       SendRequest,         State.REQUEST_SENT,          send_request),
    rule(Side.VERIFIER, START,                       ProposePresentation, State.PROPOSAL_RECEIVED,     keep_proposal),
    rule(Side.VERIFIER, State.PROPOSAL_RECEIVED,     ProposePresentation, State.PROPOSAL_RECEIVED,     keep_proposal),
    rule(Side.VERIFIER, State.PROPOSAL_RECEIVED,     SendRequest,         State.REQUEST_SENT,          send_request),
    rule(Side.VERIFIER, State.REQUEST_SENT,          SendRequest,         State.REQUEST_SENT,          send_request),
    rule(Side.VERIFIER, State.REQUEST_SENT,          ProposePresentation, State.PROPOSAL_RECEIVED,     keep_proposal),
    rule(Side.VERIFIER, State.REQUEST_SENT,          Presentation,        State.PRESENTATION_RECEIVED, keep_presentation),
    rule(Side.VERIFIER, State.PRESENTATION_RECEIVED, Verify,              State.DONE,                  verify),
    rule(Side.PROVER,   START,                       SendProposal,        State.PROPOSAL_SENT,         send_proposal),
    rule(Side.PROVER,   START,                       RequestPresentation, State.REQUEST_RECEIVED,      keep_request),
    rule(Side.PROVER,   State.PROPOSAL_SENT,         SendProposal,        State.PROPOSAL_SENT,         send_proposal),
    rule(Side.PROVER,   State.PROPOSAL_SENT,         RequestPresentation, State.REQUEST_RECEIVED,      keep_request),
    rule(Side.PROVER,   State.REQUEST_RECEIVED,      RequestPresentation, State.REQUEST_RECEIVED,      keep_request),
    rule(Side.PROVER,   State.REQUEST_RECEIVED,      SendProposal,        State.PROPOSAL_SENT,         send_proposal),
    rule(Side.PROVER,   State.REQUEST_RECEIVED,      SendPresentation,    _SENT,                       send_presentation),
    rule(Side.PROVER,   State.PRESENTATION_SENT,     PresentationAck,     _ANSWERED,                   finish),
    *abandoning(Side.VERIFIER, _VERIFIER_OPEN),
    *abandoning(Side.PROVER, _PROVER_OPEN),
))
# fmt: on
