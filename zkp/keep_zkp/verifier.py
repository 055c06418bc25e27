"""What a verifier does: one call from presentation to verdict (AnonCreds specification 1.0)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import anoncreds

from keep_zkp.errors import InvalidError, LibraryError, RefusedError
from keep_zkp.json_object import Json
from keep_zkp.native import Scope, fresh
from keep_zkp.presentation import as_signed, read_presentation
from keep_zkp.requests import PresentationRequest
from keep_zkp.verdict import Question, Reason, Resolved, Verdict, find_reasons, judge, refused


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
    try:  # in a thread, as the library: whoever presents decides how much there is to compare
        shown = await asyncio.to_thread(read_presentation, presentation, request)
    except RefusedError as error:
        return refused(request, Reason(error.rule, error.words))
    question = Question(request, shown, resolved, accept_any_issuer)
    reasons = await asyncio.to_thread(find_reasons, question)
    proved = not reasons and await _library_agrees(scope, question, presentation)
    return judge(question, reasons, proved=proved)


async def _library_agrees(scope: Scope, question: Question, presentation: Json) -> bool:
    """Ask the library; it compares values as texts, so it gets them as they are signed."""
    request = question.request.respelled(str).as_signed()
    identifiers = question.shown.identifiers

    def check() -> bool:
        return fresh(anoncreds.Presentation, as_signed(presentation)).verify(
            fresh(anoncreds.PresentationRequest, request.wire()),
            {
                each.schema_id: scope.load(
                    anoncreds.Schema, question.resolved.schemas[each.schema_id]
                )
                for each in identifiers
            },
            {
                each.cred_def_id: scope.load(
                    anoncreds.CredentialDefinition,
                    question.resolved.cred_defs[each.cred_def_id],
                )
                for each in identifiers
            },
        )

    try:
        return await scope.native.run(check) is True
    except (InvalidError, LibraryError):
        return False
