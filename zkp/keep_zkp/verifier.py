"""What a verifier does: one call from presentation to verdict (AnonCreds specification 1.0)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import anoncreds

from keep_zkp.errors import InvalidError, RefusedError
from keep_zkp.json_object import Json
from keep_zkp.native import Scope, fresh
from keep_zkp.presentation import as_signed, read_presentation
from keep_zkp.requests import PresentationRequest
from keep_zkp.verdict import Question, Reason, Resolved, Verdict, find_reasons, judge, refused
from keep_zkp.voices import Voices

DISAGREEMENT = "SEC-P37"
"""The rule of a verdict on a proof that one of our equations and the library accepts and the other refuses."""


@dataclass(frozen=True, slots=True)
class Named:
    """The ledger objects that a presentation names, to be resolved before `verify`."""

    schema_ids: frozenset[str]
    cred_def_ids: frozenset[str]


def named(request: PresentationRequest, presentation: Json) -> Named:
    """Return which ledger objects to resolve.

    Raises:
        RefusedError: it is not a presentation, or names more than the request can need (SEC-P30);
            `verify` without objects gives the verdict on it.
    """
    identifiers = read_presentation(presentation, request).identifiers
    return Named(
        frozenset(each.schema_id for each in identifiers),
        frozenset(each.cred_def_id for each in identifiers),
    )


async def verify(
    scope: Scope,
    voices: Voices,
    *,
    request: PresentationRequest,
    presentation: Json,
    schemas: Mapping[str, Json],
    cred_defs: Mapping[str, Json],
    accept_any_issuer: bool,
) -> Verdict:
    """Verify a presentation against the request that it answers.

    A false or malformed presentation is a verdict with reasons, not an error. Ids are compared as
    texts: where two forms of them are in use, the caller first writes all in the form that names
    the network (`PresentationRequest.respelled`), because two networks can have one DID.

    Args:
        scope: of the tenant that asked.
        voices: who has to accept the proof.
        request: ours, as it was stored when it was sent.
        presentation: as it came; `named` tells which ids to resolve.
        schemas: by exactly those ids, from the ledger, never from the message (SEC-P17).
        cred_defs: likewise; their `schemaId` and `issuerId` are compared with the ids.
        accept_any_issuer: as the request was made; otherwise a referent that names no issuer
            makes the verdict false, whoever signed (SEC-P10).

    Raises:
        BusyError: try again; no verdict was reached.
    """
    resolved = Resolved(schemas, cred_defs)

    def read() -> tuple[Question, tuple[Reason, ...]]:
        shown = read_presentation(presentation, request)
        question = Question(request, shown, resolved, accept_any_issuer)
        return question, find_reasons(question)

    try:  # in a thread, as the library: whoever presents decides how much there is to compare
        question, reasons = await asyncio.to_thread(read)
    except RefusedError as error:
        return refused(request, Reason(error.rule, error.words))
    if reasons:
        return judge(question, reasons, proved=False)
    try:
        ours, library = await scope.native.run(_ask, scope, voices, question, presentation)
    except InvalidError as error:
        return judge(question, (Reason("SEC-P17", str(error)),), proved=False)
    if voices.equations:
        tables = voices.equations.tables
        for key in filter(tables.wants, question.keys):
            scope.native.start(tables.add, key)
    if differ(ours, library):
        words = "our own check of the proof and the library's do not agree, so it is refused"
        return judge(question, (Reason(DISAGREEMENT, words),), proved=False)
    return judge(question, (), proved=False not in {ours, library})


def _ask(
    scope: Scope, voices: Voices, question: Question, presentation: Json
) -> tuple[bool | None, bool | None]:
    """Return whether our equations and the library accept a proof; None: not asked.

    Raises:
        InvalidError: a schema or a definition is not one for the library, so nobody is asked.
    """
    library = partial(_library_agrees, _ledger_objects(scope, question), question, presentation)
    mode, equations = voices.in_force, voices.equations
    if mode == "library" or equations is None:
        return None, library()
    ours = equations.hold(
        question.keys,
        question.numbers,
        challenge=int(question.shown.proof.aggregated_proof.c_hash),
        nonce=int(question.request.nonce),
    )
    wanted = voices.samples(question.keys, accepted=ours) if mode == "sampled" else ours
    said = library() if wanted else None
    if differ(ours, said):  # here, because whoever waits for the answer may be gone by now
        voices.disagree()
    return ours, said


def differ(ours: bool | None, library: bool | None) -> bool:  # noqa: FBT001 - two votes
    """Whether both were asked, and one accepts what the other refuses."""
    return None not in {ours, library} and ours != library


@dataclass(frozen=True, slots=True)
class _LedgerObjects:
    """The schemas and definitions of a presentation, as the library reads them."""

    schemas: Mapping[str, anoncreds.Schema]
    cred_defs: Mapping[str, anoncreds.CredentialDefinition]


def _ledger_objects(scope: Scope, question: Question) -> _LedgerObjects:
    resolved, identifiers = question.resolved, question.shown.identifiers
    try:
        return _LedgerObjects(
            {
                each.schema_id: scope.load(anoncreds.Schema, resolved.schemas[each.schema_id])
                for each in identifiers
            },
            {
                each.cred_def_id: scope.load(
                    anoncreds.CredentialDefinition, resolved.cred_defs[each.cred_def_id]
                )
                for each in identifiers
            },
        )
    except (InvalidError, anoncreds.AnoncredsError):
        words = "a schema or definition on the ledger cannot be read"
        raise InvalidError(words) from None


def _library_agrees(objects: _LedgerObjects, question: Question, presentation: Json) -> bool:
    """Ask the library; it compares values as texts, so it gets them as they are signed."""
    try:
        shown = fresh(anoncreds.Presentation, as_signed(presentation))
        request = fresh(anoncreds.PresentationRequest, question.request.for_library().wire())
        return shown.verify(request, objects.schemas, objects.cred_defs) is True
    except (InvalidError, anoncreds.AnoncredsError):
        return False
