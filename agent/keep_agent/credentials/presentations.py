"""AnonCreds for present-proof: requests, presentations from the wallet, verification."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from keep_agent.core.message import Json
from keep_agent.credentials.formats import LEGACY, Family, Ids
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.spelling import (
    form,
    network_of,
    on_the_wire,
    qualified,
    spelled,
    unqualified,
)
from keep_agent.credentials.verification import Verification
from keep_agent.credentials.wallet import (
    CREDENTIAL,
    attribute_tag,
    errors_as,
    link_secret,
    schema_parts,
)
from keep_agent.errors import BadCommandError, RefusedError
from keep_agent.protocols.present_proof_2 import Asked, Verdict
from keep_agent.store.profile import Profile
from keep_ledger.interface import CredDef, Schema
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
from keep_zkp.verifier import DISAGREEMENT, named, verify

log = logging.getLogger(__name__)

FIRST_PAGE = 8
MOST_CANDIDATES = 500
"""How many credentials, the newest first, are tried for one referent."""
MOST_REASONS = 3

Records = dict[str, Json]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Found:
    """A presentation whose ids name their network, and the objects that it names."""

    presentation: Json
    schemas: Records
    cred_defs: Records


class Prover:
    """One tenant's presentations, as verifier and as prover (`present_proof.Proofs`)."""

    def __init__(
        self,
        profile: Profile,
        scope: Scope,
        objects: LedgerObjects,
        verification: Verification,
    ) -> None:
        self._profile = profile
        self._scope = scope
        self._objects = objects
        self._verification = verification

    # -- verifier --------------------------------------------------------------------------------

    async def ask(
        self, request: Json, family: Family, ids: Ids | None, *, accept_any_issuer: bool
    ) -> Asked:
        """See `Proofs`."""
        with errors_as(BadCommandError, "not a presentation request"):
            asked = our_request(
                {"name": "question", "version": "1.0", **request},
                accept_any_issuer=accept_any_issuer,
            )
        if unbound(asked):
            log.warning("a request names no issuer", extra={"rule": "SEC-P10"})
        chosen = await on_the_wire(self._profile, family, ids)
        spoken = asked if chosen is None else await self._spoken(asked, chosen)
        if spoken.ver is None and "qualified" in map(form, _ids(spoken)):
            spoken = spoken.model_copy(update={"ver": "2.0"})  # version 1 refuses such ids
        meant = None if _ids(spoken) == _ids(asked) else asked.wire()
        return Asked(spoken.spelt_both_ways().wire(), meant)

    async def _spoken(self, asked: PresentationRequest, ids: Ids) -> PresentationRequest:
        """Write the ids of a request in this form, for peers that read no other."""
        if ids == "unqualified":
            return asked.respelled(unqualified, old_tags=True)
        names = await self._objects.named(_ids(asked))
        if unknown := [text for text, name in names.items() if form(name) != ids]:
            words = f"no configured ledger has {unknown[0]}, so its network is not known"
            raise BadCommandError(f"{words}; name it by an id with its network")
        return asked.respelled(names.__getitem__)

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
        found = _Found(presentation, {}, {})
        with suppress(zkp.RefusedError):  # then `verify` gives the verdict on it
            await asyncio.to_thread(named, asked, presentation)
            found = await self._resolve(presentation)
        names = await self._objects.named(_ids(asked))
        with errors_as(BadCommandError, "the verifier could not run"):
            verdict = await verify(
                self._scope,
                self._verification.voices,
                request=asked.respelled(names.__getitem__),
                presentation=found.presentation,
                schemas=found.schemas,
                cred_defs=found.cred_defs,
                accept_any_issuer=accept_any_issuer,
            )
        if any(each.rule == DISAGREEMENT for each in verdict.reasons):
            await self._verification.alarm(found.cred_defs)
        why = "; ".join(
            f"{each.words} ({each.rule})" for each in verdict.reasons[:MOST_REASONS]
        )
        return Verdict(verdict.ok, why, verdict.wire())

    async def _resolve(self, presentation: Json) -> _Found:
        """Read the objects that a presentation names, and write its ids with their network.

        A schema is looked for where its definition was found, unless it names a network itself.

        Args:
            presentation: one that `named` has read.
        """
        identifiers: list[Json] = presentation["identifiers"]
        cred_defs = await _each(
            self._objects.cred_def, (each["cred_def_id"] for each in identifiers)
        )
        places = [cred_defs[each["cred_def_id"]] for each in identifiers]
        schema_ids = [
            qualified(each["schema_id"], network_of(there.id)) if there else each["schema_id"]
            for each, there in zip(identifiers, places, strict=True)
        ]
        wanted = [text for text, there in zip(schema_ids, places, strict=True) if there]
        schemas = await _each(self._objects.schema, wanted)
        renamed = [
            {
                **each,
                "cred_def_id": there.id if there else each["cred_def_id"],
                "schema_id": schema_id,
            }
            for each, there, schema_id in zip(identifiers, places, schema_ids, strict=True)
        ]
        return _Found(
            {**presentation, "identifiers": renamed},
            {
                key: self._objects.schema_json(each, "qualified")
                for key, each in schemas.items()
                if each
            },
            {
                each.id: self._objects.cred_def_json(each, "qualified")
                for each in cred_defs.values()
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
        names: dict[str, str] = {}
        settled = {*credentials, *self_attested}
        selection = await self._search(asked, settled, records, names)
        answers = _answers(asked, selection, credentials, self_attested)
        _check_hidden(asked, hidden, self_attested)
        chosen: list[Chosen] = []
        schemas: Records = {}
        cred_defs: Records = {}
        for name in dict.fromkeys(answers.values()):
            record, referents = records[name], {key for key in answers if answers[key] == name}
            said = {text: names.get(text, text) for text in _ids(asked, referents)}
            ids = _form(record, family, said)
            each = _chosen(asked, referents, hidden, record, ids)
            schema, cred_def = await self._published(record)
            schemas[each.credential["schema_id"]] = self._objects.schema_json(schema, ids)
            cred_defs[each.credential["cred_def_id"]] = self._objects.cred_def_json(
                cred_def, ids
            )
            chosen.append(each)
        with errors_as(BadCommandError, "the credentials do not prove what is asked"):
            return await create_presentation(
                self._scope,
                request=asked.respelled(str),
                chosen=chosen,
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
        return await self._search(asked, set(), {}, {})

    async def _record(self, name: str) -> Json:
        record = await self._profile.fetch(CREDENTIAL, name)
        if record is None:
            raise BadCommandError(f"no credential {name!r} is held")
        return record

    async def _search(
        self,
        asked: PresentationRequest,
        settled: set[str],
        records: Records,
        names: dict[str, str],
    ) -> Selection:
        """Load credentials, the newest first, until they answer every referent not yet settled.

        Only those that could answer are read, by their tags; `records` is filled with them.

        Args:
            names: filled with the ids of the request that can mean a held credential, each with the
                network where it was found. Only those are looked up: who asks chooses how many
                ids there are (SEC-R01).
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
                for name, record in await asyncio.to_thread(_parsed, page):
                    records.setdefault(name, record)
            held = [_held(name, record) for name, record in records.items()]
            texts = await asyncio.to_thread(_possible, asked, held)
            names |= await self._objects.named(texts - names.keys())
            selection = await asyncio.to_thread(_select, asked, held, names)
            open_ = {*selection.missing, *selection.self_attestable} - settled
            offset += size
            if not open_ or not full or offset >= MOST_CANDIDATES:
                return selection
            size *= 2

    async def _published(self, record: Json) -> tuple[Schema, CredDef]:
        """Read from the ledger what the library needs for a credential to present."""
        cred_def = await self._objects.cred_def(record["cred_def_id"])
        schema = await self._objects.schema(record["schema_id"])
        if cred_def is None or schema is None:
            raise BadCommandError(f"the ledger does not have {record['cred_def_id']} now")
        return schema, cred_def


# -- requests ----------------------------------------------------------------------------------


def _read(request: Json) -> Json:
    return read_request(request).wire()


def _parsed(page: Iterable[tuple[str, bytes]]) -> list[tuple[str, Json]]:
    return [(name, json.loads(value)) for name, value in page]


def _ids(asked: PresentationRequest, referents: Collection[str] | None = None) -> list[str]:
    """Return every id in the restrictions of a request, or of some of its referents."""
    return [
        text
        for key, each in asked.asked.items()
        if each.restrictions is not None and (referents is None or key in referents)
        for leaf in leaves(each.restrictions)
        if leaf.tag in ID_TAGS
        for text in leaf.values
    ]


async def _each(
    read: Callable[[str], Awaitable[T | None]], texts: Iterable[str]
) -> dict[str, T | None]:
    """Read several objects at once, each of them once."""
    keys = sorted(set(texts))
    return dict(zip(keys, await asyncio.gather(*map(read, keys)), strict=True))


# -- presenting --------------------------------------------------------------------------------


def _form(record: Json, family: Family, asked: Mapping[str, str]) -> Ids:
    """Return the form in which to name a credential's objects: that in which it was received.

    If who asks names these very objects in the other form alone, it is that one: most verifiers
    compare ids as text.

    Args:
        asked: the ids in the restrictions of what it answers, each with its network as value.
    """
    there = _named_by(_held("", record))
    forms: set[Ids] = {form(text) for text, name in asked.items() if name in there}
    if len(forms) == 1:
        return forms.pop()
    return "unqualified" if family == LEGACY else form(record["credential"]["cred_def_id"])


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
    parts = schema_parts(record["schema_id"])
    if parts:
        network = network_of(record["schema_id"])
        parts["schema_issuer_id"] = qualified(parts["schema_issuer_id"], network)
    return Held(
        credential_id=name,
        cred_def_id=record["cred_def_id"],
        schema_id=record["schema_id"],
        issuer_id=record["issuer_id"],
        values={key: value["raw"] for key, value in record["credential"]["values"].items()},
        **parts,
    )


def _named_by(held: Held) -> set[str]:
    """Return the ids of the objects of a credential, and of who made them."""
    ids = {held.cred_def_id, held.schema_id, held.issuer_id}
    return ids | ({held.schema_issuer_id} if held.schema_issuer_id else set())


def _possible(asked: PresentationRequest, held: Iterable[Held]) -> set[str]:
    """Return the ids of a request that mean a held credential, if they are of its network."""
    there = set(map(unqualified, set[str]().union(*map(_named_by, held))))
    return {text for text in _ids(asked) if unqualified(text) in there}


def _select(
    asked: PresentationRequest, held: Sequence[Held], names: Mapping[str, str]
) -> Selection:
    return select(asked.respelled(lambda text: names.get(text, text)), held)


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
    referents: Collection[str],
    hidden: Collection[str],
    record: Json,
    ids: Ids,
) -> Chosen:
    network = network_of(record["cred_def_id"])
    written = {key: spelled(record[key], ids, network) for key in ("schema_id", "cred_def_id")}
    attributes = [k for k in asked.requested_attributes if k in referents]
    return Chosen(
        credential={**record["credential"], **written},
        attributes=tuple(k for k in attributes if k not in hidden),
        hidden=tuple(k for k in attributes if k in hidden),
        predicates=tuple(k for k in asked.requested_predicates if k in referents),
    )
