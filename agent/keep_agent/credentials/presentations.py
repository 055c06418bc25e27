"""AnonCreds for present-proof: requests, presentations from the wallet, verification."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from keep_agent.core.message import Json
from keep_agent.credentials.formats import LEGACY, Family
from keep_agent.credentials.ledger_objects import LedgerObjects, may_be_same, unqualified
from keep_agent.credentials.wallet import (
    CREDENTIAL,
    attribute_tag,
    errors_as,
    link_secret,
    schema_parts,
)
from keep_agent.errors import BadCommandError, RefusedError
from keep_agent.protocols.present_proof_2 import Verdict
from keep_agent.store.profile import Profile
from keep_zkp import errors as zkp
from keep_zkp.holder import Chosen, create_presentation
from keep_zkp.native import Scope
from keep_zkp.requests import (
    Predicate,
    PresentationRequest,
    our_request,
    read_request,
    unbound,
)
from keep_zkp.restrictions import ID_TAGS, leaves
from keep_zkp.select import Held, Narrowing, Selection, narrow, select
from keep_zkp.verifier import Named, named, verify

log = logging.getLogger(__name__)

FIRST_PAGE = 8
MOST_CANDIDATES = 500
"""How many credentials, the newest first, are tried for one referent."""
MOST_REASONS = 3

Records = dict[str, Json]


class Prover:
    """One tenant's presentations, as verifier and as prover (`present_proof.Proofs`)."""

    def __init__(self, profile: Profile, scope: Scope, objects: LedgerObjects) -> None:
        self._profile = profile
        self._scope = scope
        self._objects = objects

    # -- verifier --------------------------------------------------------------------------------

    async def ask(self, request: Json, family: Family, *, accept_any_issuer: bool) -> Json:
        """See `Proofs`."""
        with errors_as(BadCommandError, "not a presentation request"):
            asked = our_request(
                {"name": "question", "version": "1.0", **request},
                accept_any_issuer=accept_any_issuer,
            )
        if family == LEGACY and any(text.startswith("did:indy:") for text in _ids(asked)):
            raise BadCommandError("the format hlindy needs ids in the old form")
        if unbound(asked):
            log.warning("a request names no issuer", extra={"rule": "SEC-P10"})
        return asked.wire()

    async def read(self, request: Json) -> Json:
        """See `Proofs`."""
        with errors_as(RefusedError, "not a presentation request"):
            return await asyncio.to_thread(_read, request)

    async def verify(
        self, request: Json, presentation: Json, *, accept_any_issuer: bool
    ) -> Verdict:
        """See `Proofs`.

        Every id in the request and the presentation is first written with the network in which it was
        found, and then compared as text: of two networks with the same DID, only the right one counts.
        """
        asked = read_request(request)
        try:
            shown = await asyncio.to_thread(named, asked, presentation)
        except zkp.RefusedError:
            shown = Named(frozenset(), frozenset())
        names, schemas, cred_defs = await self._resolve(shown)
        asked_names = await self._objects.named(_ids(asked))
        with errors_as(BadCommandError, "the verifier could not run"):
            verdict = await verify(
                self._scope,
                request=asked.respelled(lambda text: asked_names.get(text, text)),
                presentation=_renamed(presentation, names) if names else presentation,
                schemas=schemas,
                cred_defs=cred_defs,
                accept_any_issuer=accept_any_issuer,
            )
        why = "; ".join(
            f"{each.words} ({each.rule})" for each in verdict.reasons[:MOST_REASONS]
        )
        return Verdict(verdict.ok, why, verdict.wire())

    async def _resolve(self, shown: Named) -> tuple[dict[str, str], Records, Records]:
        """Read the objects that a presentation names; also return each id with its network."""
        texts = sorted(shown.schema_ids), sorted(shown.cred_def_ids)
        schemas, cred_defs = await asyncio.gather(
            asyncio.gather(*map(self._objects.schema, texts[0])),
            asyncio.gather(*map(self._objects.cred_def, texts[1])),
        )
        names = {
            text: found.id
            for text, found in (
                *zip(texts[0], schemas, strict=True),
                *zip(texts[1], cred_defs, strict=True),
            )
            if found is not None
        }
        return (
            names,
            {
                each.id: self._objects.schema_json(each, legacy=False)
                for each in schemas
                if each
            },
            {
                each.id: self._objects.cred_def_json(each, legacy=False)
                for each in cred_defs
                if each
            },
        )

    # -- prover ----------------------------------------------------------------------------------

    async def present(
        self,
        request: Json,
        family: Family,
        credentials: dict[str, str],
        self_attested: dict[str, str],
        hidden: Collection[str] = (),
    ) -> Json:
        """See `Proofs`."""
        asked = await asyncio.to_thread(read_request, request)
        records = {name: await self._record(name) for name in set(credentials.values())}
        selection = await self._search(asked, {*credentials, *self_attested}, records)
        answers = _answers(asked, selection, credentials, self_attested)
        _check_hidden(asked, hidden, self_attested)
        legacy = _speaks_legacy(asked, family)
        used = {name: records[name] for name in dict.fromkeys(answers.values())}
        schemas, cred_defs = await self._published(used.values(), legacy=legacy)
        with errors_as(BadCommandError, "the credentials do not prove what is asked"):
            return await create_presentation(
                self._scope,
                request=asked.respelled(unqualified if legacy else str),
                chosen=[
                    _chosen(asked, name, record, answers, hidden, legacy=legacy)
                    for name, record in used.items()
                ],
                self_attested=self_attested,
                link_secret=await link_secret(self._profile),
                schemas=schemas,
                cred_defs=cred_defs,
            )

    async def select(self, request: Json) -> Selection:
        """Return which credentials would answer a request, and why others do not.

        For the holder only: it contains values.

        Raises:
            BadCommandError: it is not a presentation request.
        """
        with errors_as(BadCommandError, "not a presentation request"):
            asked = await asyncio.to_thread(read_request, request)
        return await self._search(asked, set(), {})

    async def _record(self, name: str) -> Json:
        record = await self._profile.fetch(CREDENTIAL, name)
        if record is None:
            raise BadCommandError(f"no credential {name!r} is held")
        return record

    async def _search(
        self, asked: PresentationRequest, settled: set[str], records: Records
    ) -> Selection:
        """Load credentials, the newest first, until they answer every referent not yet settled.

        Only those that could answer are read, by their tags; `records` is filled with them.
        """
        narrowed = {
            json.dumps(_where(each)): _where(each)
            for key, each in narrow(asked).items()
            if key not in settled
        }
        offset, size = 0, FIRST_PAGE
        while True:
            full = False
            for where in narrowed.values():
                page = await self._profile.reader.page(CREDENTIAL, where, offset, size)
                full = full or len(page) == size
                for name, value in page:
                    records.setdefault(name, json.loads(value))
            held = [_held(name, record) for name, record in records.items()]
            selection = await asyncio.to_thread(select, asked, held, may_be_same)
            open_ = {*selection.missing, *selection.self_attestable} - settled
            offset += size
            if not open_ or not full or offset >= MOST_CANDIDATES:
                return selection
            size *= 2

    async def _published(
        self, records: Iterable[Json], *, legacy: bool
    ) -> tuple[Records, Records]:
        """Read from the ledger what the library needs for the credentials to present."""
        schemas: Records = {}
        cred_defs: Records = {}
        spell = unqualified if legacy else str
        for record in records:
            cred_def = await self._objects.cred_def(record["cred_def_id"])
            schema = await self._objects.schema(record["schema_id"])
            if cred_def is None or schema is None:
                raise BadCommandError(f"the ledger does not have {record['cred_def_id']} now")
            schemas[spell(schema.id)] = self._objects.schema_json(schema, legacy=legacy)
            cred_defs[spell(cred_def.id)] = self._objects.cred_def_json(cred_def, legacy=legacy)
        return schemas, cred_defs


# -- requests ----------------------------------------------------------------------------------


def _read(request: Json) -> Json:
    return read_request(request).wire()


def _ids(asked: PresentationRequest) -> list[str]:
    """Return every id in the restrictions of a request."""
    return [
        text
        for each in asked.asked.values()
        if each.restrictions is not None
        for leaf in leaves(each.restrictions)
        if leaf.tag in ID_TAGS
        for text in leaf.values
    ]


def _renamed(presentation: Json, names: Mapping[str, str]) -> Json:
    """Write the ids of a presentation, which `named` has read, in the form with their network."""
    keys = ("schema_id", "cred_def_id")
    identifiers = [
        {**each, **{key: names.get(each[key], each[key]) for key in keys}}
        for each in presentation["identifiers"]
    ]
    return {**presentation, "identifiers": identifiers}


# -- presenting --------------------------------------------------------------------------------


def _speaks_legacy(asked: PresentationRequest, family: Family) -> bool:
    """Tell whether to write ids in the old form: as in the request, because peers compare them as text."""
    ids = _ids(asked)
    return family == LEGACY or (bool(ids) and not any(text.startswith("did:") for text in ids))


def _where(narrowing: Narrowing) -> dict[str, Any]:
    """Return the tags that a credential must have, as the store's query."""
    needs = (
        ("cred_def_id", narrowing.cred_def_ids),
        ("schema_id", narrowing.schema_ids),
        ("issuer_id", narrowing.issuer_ids),
    )
    by_id = {tag: {"$in": sorted(map(unqualified, texts))} for tag, texts in needs if texts}
    return by_id or {attribute_tag(name): "1" for name in sorted(narrowing.names)}


def _held(name: str, record: Json) -> Held:
    return Held(
        credential_id=name,
        cred_def_id=record["cred_def_id"],
        schema_id=record["schema_id"],
        issuer_id=record["issuer_id"],
        values={key: value["raw"] for key, value in record["credential"]["values"].items()},
        **schema_parts(record["schema_id"]),
    )


def _answers(
    asked: PresentationRequest,
    selection: Selection,
    credentials: Mapping[str, str],
    self_attested: Mapping[str, str],
) -> dict[str, str]:
    """Return which credential answers which referent.

    Raises:
        BadCommandError: a referent has no answer, or the caller's choice does not fit.
    """
    given = {**selection.chosen, **credentials}
    answers = {
        key: given[key] for key in asked.asked if key in given and key not in self_attested
    }
    unfit = [
        key
        for key, name in credentials.items()
        if name not in selection.candidates.get(key, ())
    ]
    missing = [key for key in asked.asked if key not in answers and key not in self_attested]
    if unfit or missing:
        words = "; ".join(_why_not(asked, selection, key) for key in (*unfit, *missing))
        raise BadCommandError(f"no credential fits: {words}")
    return answers


def _why_not(asked: PresentationRequest, selection: Selection, referent: str) -> str:
    """Return why a referent has no answer; for our own side only."""
    question = asked.asked.get(referent)
    if question is None:
        return f"{referent!r} is not in the request"
    what = str(question) if isinstance(question, Predicate) else ", ".join(question.all_names)
    reasons = dict.fromkeys(each.why for each in selection.misfits if each.referent == referent)
    if referent in selection.self_attestable:
        reasons = {"it can be self-attested (self_attested)": None}
    why = ", ".join(list(reasons)[:MOST_REASONS]) or "no such credential is held"
    return f"{referent} ({what}): {why}"


def _check_hidden(
    asked: PresentationRequest, hidden: Collection[str], self_attested: Mapping[str, str]
) -> None:
    """Refuse to hide what is not an attribute of a credential."""
    for key in sorted(hidden):
        if key not in asked.requested_attributes:
            raise BadCommandError(f"revealed: {key!r} is not an attribute of the request")
        if key in self_attested:
            raise BadCommandError(f"revealed: {key!r} is self-attested, so its value is shown")


def _chosen(
    asked: PresentationRequest,
    name: str,
    record: Json,
    answers: Mapping[str, str],
    hidden: Collection[str],
    *,
    legacy: bool,
) -> Chosen:
    spell = unqualified if legacy else str
    ids = {key: spell(record[key]) for key in ("schema_id", "cred_def_id")}
    attributes = [k for k in asked.requested_attributes if answers.get(k) == name]
    return Chosen(
        credential={**record["credential"], **ids},
        attributes=tuple(k for k in attributes if k not in hidden),
        hidden=tuple(k for k in attributes if k in hidden),
        predicates=tuple(k for k in asked.requested_predicates if answers.get(k) == name),
    )
