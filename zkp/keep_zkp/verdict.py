"""The verdict: does this presentation answer the question that was asked?

The cryptography proves statements. This module checks that they are the statements that the request
asks for, about the values that are shown, from the issuers that are named. It does so before the
library verifies anything; `ok` needs both.

Rules are named as in the project's table of security checks (SEC-P01 ...).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import chain
from typing import Any, cast

from keep_zkp.encode import canonical, check_names, common_name, encode
from keep_zkp.errors import InvalidError
from keep_zkp.issuer import schema_names
from keep_zkp.json_object import Json
from keep_zkp.presentation import Identifier, Presentation, RawEncoded, RequestedProof
from keep_zkp.proof_numbers import (
    SubProofNumbers,
    check_commitments,
    check_numbers,
    check_one_holder,
    read_numbers,
)
from keep_zkp.public_key import PublicKey, read_public_key
from keep_zkp.requests import Attribute, Predicate, PresentationRequest, unbound
from keep_zkp.restrictions import Facts, holds

LONGEST = 200
"""How many characters of a name stand in the words of a reason."""


class How(StrEnum):
    """How a referent was answered."""

    REVEALED = "revealed"
    PROVEN = "proven"
    SELF_ATTESTED = "self-attested"
    UNREVEALED = "unrevealed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule and what was found: which item and what is wrong with it, in words for people.

    It never contains a value that was shown. The name of the rule stands beside the words, and
    never in their place (SEC-P35).
    """

    rule: str
    words: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where an answer comes from, as the ledger knows it.

    Attributes:
        credential: which of the presented credentials, counted from 0.
    """

    credential: int
    cred_def_id: str
    schema_id: str
    issuer_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one referent of the request.

    Attributes:
        names: as asked for.
        values: what is signed, by name; only when revealed. Of a number that is the number alone, in
            its canonical spelling.
        unsigned_spellings: by name, how the holder spells a number, where that is otherwise than in
            `values` (`007`): nobody has signed the spelling (SEC-P02).
        said: self-attested by the holder; proves nothing (SEC-P09).
        predicate: as asked for, and proved when `how` says so.
        source: None when nothing is proved.
    """

    referent: str
    names: tuple[str, ...]
    how: How
    values: Mapping[str, str]
    said: str | None
    predicate: str | None
    source: Source | None
    unsigned_spellings: Mapping[str, str] = field(default_factory=dict[str, str])

    def __repr__(self) -> str:
        """Hide the values."""
        return f"Answer({self.referent!r}, {self.how.value})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one result of a verification; everything shown to people comes from here (SEC-P28).

    Attributes:
        proved: everybody who was asked found the proof valid.
        reasons: each rule that it breaks; one is enough.
        notices: what a person should know even when it is right.
        answers: one for each referent; without values unless the verdict is `ok`.
    """

    proved: bool
    reasons: tuple[Reason, ...]
    notices: tuple[Reason, ...]
    answers: tuple[Answer, ...]

    @property
    def ok(self) -> bool:
        """The question that was asked is answered and proved."""
        given = all(each.how not in {How.UNREVEALED, How.MISSING} for each in self.answers)
        return self.proved and not self.reasons and given and bool(self.answers)

    def wire(self) -> Json:
        """Return it as JSON, for API and web."""
        return {
            "ok": self.ok,
            "reasons": [_plain(each) for each in self.reasons],
            "notices": [_plain(each) for each in self.notices],
            "answers": [_plain_answer(each) for each in self.answers],
        }


@dataclass(frozen=True, slots=True)
class Resolved:
    """Ledger objects by the ids that the presentation names; from the ledger, never from it."""

    schemas: Mapping[str, Json]
    cred_defs: Mapping[str, Json]


@dataclass(frozen=True)
class Question:
    """All that the checks compare: what was asked, what came, what the ledger says."""

    request: PresentationRequest
    shown: Presentation
    resolved: Resolved
    accept_any_issuer: bool

    @cached_property
    def keys(self) -> tuple[PublicKey, ...]:
        """The issuer's key of each credential.

        Raises:
            InvalidError, KeyError: `_ledger` has something to say.
        """
        cred_defs = self.resolved.cred_defs
        read = {
            each: read_public_key(cred_defs[each])
            for each in {one.cred_def_id for one in self.shown.identifiers}
        }
        return tuple(read[each.cred_def_id] for each in self.shown.identifiers)

    @cached_property
    def numbers(self) -> tuple[SubProofNumbers, ...]:
        """The numbers of each sub-proof.

        Raises:
            InvalidError: `_cryptography` has something to say.
        """
        return tuple(map(read_numbers, self.shown.proof.proofs))


def refused(request: PresentationRequest, *reasons: Reason) -> Verdict:
    """Return the verdict on something that is not an answer at all."""
    answers = tuple(_nothing(request, key) for key in request.asked)
    return Verdict(proved=False, reasons=reasons, notices=(), answers=answers)


def judge(question: Question, reasons: tuple[Reason, ...], *, proved: bool) -> Verdict:
    """Fold what `find_reasons` found and whether the proof is valid into one verdict."""
    if not proved:
        words = "the proof is not valid: something in it was changed, or it answers another question"
        reasons = reasons or (Reason("SEC-P29", words),)
    if reasons:
        return refused(question.request, *reasons)
    answers = tuple(_answer(question, key) for key in question.request.asked)
    return Verdict(proved, reasons, tuple(_notices(question, answers)), answers)


def find_reasons(question: Question) -> tuple[Reason, ...]:
    """Return every rule that the presentation breaks; empty when only the library is left to ask.

    Checks are in layers: a later one relies on the results of the earlier ones.
    """
    for storey in (_form, _ledger, _content, _binding):
        if found := tuple(storey(question)):
            return found
    return ()


def _form(question: Question) -> Iterator[Reason]:
    yield from _pinned(question)
    yield from _sections(question.request, question.shown)


def _content(question: Question) -> Iterator[Reason]:
    yield from _values(question.request, question.shown)
    yield from _revealed(question)


def _binding(question: Question) -> Iterator[Reason]:
    yield from _predicates(question)
    yield from _cryptography(question)
    yield from _restrictions(question)
    yield from _revocation(question)


def _pinned(question: Question) -> Iterator[Reason]:
    if not question.accept_any_issuer:
        for referent in unbound(question.request):
            item = _item(question.request, referent)
            yield Reason("SEC-P10", f"{item} was asked without naming an issuer")


def _sections(request: PresentationRequest, shown: Presentation) -> Iterator[Reason]:
    """P07: each referent once, in the section that fits, by a sub-proof that is there."""
    proof = shown.requested_proof
    answered = Counter(chain.from_iterable(proof.sections))
    if unfit := [*_miscounted(request, answered)]:
        yield from unfit
        return
    for referent, asked in request.requested_attributes.items():
        yield from _section(_item(request, referent), referent, asked, proof)
    for referent in request.requested_predicates.keys() - proof.predicates.keys():
        item = _item(request, referent)
        yield Reason("SEC-P01", f"{item} is answered as if a value had been asked")
    used = {index for _, index in proof.references()}
    if used != set(range(len(shown.identifiers))) or len(used) != len(shown.proof.proofs):
        yield Reason(
            "SEC-P07",
            f"the answers come from {len(used)} credentials, {len(shown.identifiers)} are named "
            f"and {len(shown.proof.proofs)} are proved",
        )


def _miscounted(request: PresentationRequest, answered: Counter[str]) -> Iterator[Reason]:
    for referent in request.asked:
        if answered[referent] != 1:
            words = "is answered more than once" if answered[referent] else "is not answered"
            yield Reason("SEC-P07", f"{_item(request, referent)} {words}")
    for referent in sorted(answered.keys() - request.asked.keys()):
        yield Reason("SEC-P07", f"{referent[:LONGEST]!r} is answered, and was not asked")


def _section(
    item: str, referent: str, asked: Attribute, proof: RequestedProof
) -> Iterator[Reason]:
    if referent in proof.unrevealed_attrs:
        yield Reason("SEC-P24", f"{item} was asked to be shown, and is not")
    elif referent in proof.self_attested_attrs:
        if asked.restrictions is not None or asked.name is None:
            yield Reason("SEC-P09", f"{item} is the holder's own word, and no credential's")
    elif referent not in (proof.revealed_attr_groups if asked.names else proof.revealed_attrs):
        asked_as = "together, from one credential," if asked.names else "alone"
        yield Reason("SEC-P11", f"{item} was asked {asked_as} and is not answered so")


def _item(request: PresentationRequest, referent: str) -> str:
    """Name what was asked, for people: the attributes or the comparison, and the referent."""
    asked = request.asked[referent]
    what = str(asked) if isinstance(asked, Predicate) else ", ".join(asked.all_names)
    return f"{what[:LONGEST]!r} (asked as {referent[:LONGEST]!r})"


def _credential(question: Question, index: int) -> str:
    """Name one of the credentials behind a presentation, for people."""
    found = question.shown.identifiers
    which = f" number {index + 1} of {len(found)}," if len(found) > 1 else ""
    return f"the credential{which} of {found[index].cred_def_id[:LONGEST]!r}"


def _ledger(question: Question) -> Iterator[Reason]:
    """P17: the objects were resolved by exactly these ids, and belong to each other."""
    for index, identifier in enumerate(question.shown.identifiers):
        schema = question.resolved.schemas.get(identifier.schema_id)
        cred_def = question.resolved.cred_defs.get(identifier.cred_def_id)
        which = _credential(question, index)
        if cred_def is None:
            yield Reason("SEC-P17", f"{which}: no ledger that we read has this definition")
        elif schema is None:
            name = identifier.schema_id[:LONGEST]
            yield Reason("SEC-P17", f"{which}: no ledger that we read has its schema {name!r}")
        elif not _belongs(identifier, schema, cred_def):
            yield Reason("SEC-P17", f"{which}: definition, schema and issuer do not fit")


def _belongs(identifier: Identifier, schema: Json, cred_def: Json) -> bool:
    try:
        names, signed = schema_names(schema), read_public_key(cred_def).attributes
        check_names(names)
    except InvalidError:
        return False
    return (
        sorted(map(common_name, names)) == sorted(signed)
        and cred_def.get("schemaId") == identifier.schema_id
        and _made_by(cred_def.get("issuerId"), identifier.cred_def_id)
        and _made_by(schema.get("issuerId"), identifier.schema_id)
    )


def _made_by(issuer: object, ledger_id: str) -> bool:
    """The id names this DID: `did:.../...` or the legacy `DID:2:...`, `DID:3:CL:...`; or none."""
    mark = "/" if ledger_id.startswith("did:") else ":"
    head, found, _ = ledger_id.partition(mark)
    return isinstance(issuer, str) and (head == issuer or not found)


def _shown_values(
    request: PresentationRequest, shown: Presentation
) -> Iterator[tuple[int, str, RawEncoded]]:
    """Yield (sub-proof, name as asked, value) of everything that is said to be revealed."""
    proof = shown.requested_proof
    for referent, value in proof.revealed_attrs.items():
        yield value.sub_proof_index, request.requested_attributes[referent].all_names[0], value
    for group in proof.revealed_attr_groups.values():
        for name, inner in group.values.items():
            yield group.sub_proof_index, name, inner


def _values(request: PresentationRequest, shown: Presentation) -> Iterator[Reason]:
    """P02: what is shown encodes to what was signed. P11: a group has exactly the names asked."""
    for referent, group in shown.requested_proof.revealed_attr_groups.items():
        if set(group.values) != set(request.requested_attributes[referent].all_names):
            yield Reason("SEC-P11", f"{_item(request, referent)} shows other attributes")
    for _, name, value in _shown_values(request, shown):
        if encode(value.raw) != value.encoded:
            yield Reason("SEC-P02", f"the value shown of {name!r} is not the one signed")


def _revealed(question: Question) -> Iterator[Reason]:
    """P01 for values: each sub-proof reveals exactly what is shown from it."""
    request, shown = question.request, question.shown
    for index, sub_proof in enumerate(shown.proof.proofs):
        said = [
            (common_name(name), value.encoded)
            for where, name, value in _shown_values(request, shown)
            if where == index
        ]
        if dict(said) != sub_proof.primary_proof.eq_proof.revealed_attrs or len(
            set(said)
        ) != len(dict(said)):
            which = _credential(question, index)
            names = ", ".join(
                name for where, name, _ in _shown_values(request, shown) if where == index
            )
            yield Reason("SEC-P02", f"{which} does not reveal exactly what is shown: {names}")


def _predicates(question: Question) -> Iterator[Reason]:
    """P01: each sub-proof proves exactly the predicates asked of it, no other and none twice."""
    request, shown = question.request, question.shown
    words = {">=": "GE", "<=": "LE", ">": "GT", "<": "LT"}
    for index, sub_proof in enumerate(shown.proof.proofs):
        asked = {
            (common_name(predicate.name), words[predicate.p_type], predicate.p_value): referent
            for referent, predicate in request.requested_predicates.items()
            if shown.requested_proof.predicates[referent].sub_proof_index == index
        }
        stated = Counter(
            (each.predicate.attr_name, each.predicate.p_type, each.predicate.value)
            for each in sub_proof.primary_proof.ge_proofs
        )
        which = _credential(question, index)
        for missing in asked.keys() - stated.keys():
            yield Reason("SEC-P01", f"{which} does not prove {_item(request, asked[missing])}")
        if stated.total() > len(stated.keys() & asked.keys()):
            yield Reason("SEC-P01", f"{which} proves a comparison that was not asked of it")


def _cryptography(question: Question) -> Iterator[Reason]:
    """P31: the numbers of the proof, before anybody computes with them. P26: one link secret."""
    for index, sub_proof in enumerate(question.shown.proof.proofs):
        try:
            found = [*check_numbers(read_numbers(sub_proof), question.keys[index])]
        except InvalidError as error:
            found = [str(error)]
        for words in found:
            yield Reason("SEC-P31", f"{_credential(question, index)}: in its proof, {words}")
    with suppress(InvalidError):  # said above
        for words in check_commitments(question.numbers, question.shown.proof.aggregated_proof):
            yield Reason("SEC-P31", f"in the proof, {words}")
        if not check_one_holder(question.numbers):
            yield Reason("SEC-P26", "the credentials do not belong to the same holder")


def _restrictions(question: Question) -> Iterator[Reason]:
    """P03, P04, P10: evaluated by us, on checked values only; "not known" is no."""
    for referent, index in question.shown.requested_proof.references():
        query = question.request.asked[referent].restrictions
        if holds(query, _facts(question, index)) is not True:
            item, which = _item(question.request, referent), _credential(question, index)
            yield Reason("SEC-P03", f"{item} comes from {which}, which was not asked for")


def _facts(question: Question, index: int) -> Facts:
    identifier = question.shown.identifiers[index]
    schema = question.resolved.schemas[identifier.schema_id]
    cred_def = question.resolved.cred_defs[identifier.cred_def_id]
    values = _shown_values(question.request, question.shown)
    return Facts(
        cred_def_id=identifier.cred_def_id,
        issuer_id=cred_def["issuerId"],
        schema_id=identifier.schema_id,
        attributes=question.keys[index].attributes,
        values={
            common_name(name): value.raw for where, name, value in values if where == index
        },
        schema_issuer_id=schema["issuerId"],
        schema_name=schema.get("name"),
        schema_version=schema.get("version"),
    )


def _revocation(question: Question) -> Iterator[Reason]:
    """P05: until revocation is built, non-revocation that was asked for is not proven."""
    for referent, index in question.shown.requested_proof.references():
        if question.request.interval(referent) is not None and _revocable(question, index):
            item, which = _item(question.request, referent), _credential(question, index)
            yield Reason("SEC-P05", f"{item}: that {which} is not revoked is not proved")
    for index, identifier in enumerate(question.shown.identifiers):
        which = _credential(question, index)
        if identifier.timestamp is not None:
            yield Reason("SEC-P23", f"{which} comes with a time that nobody asked for")
        if identifier.rev_reg_id is not None and not _revocable(question, index):
            yield Reason("SEC-P05", f"{which} names a registry, and cannot be revoked")


def _revocable(question: Question, index: int) -> bool:
    identifier = question.shown.identifiers[index]
    return bool(question.resolved.cred_defs[identifier.cred_def_id]["value"].get("revocation"))


def _answer(question: Question, referent: str) -> Answer:
    asked, proof = question.request.asked[referent], question.shown.requested_proof
    if isinstance(asked, Predicate):
        source = _source(question, proof.predicates[referent].sub_proof_index)
        return Answer(referent, (asked.name,), How.PROVEN, {}, None, str(asked), source)
    if referent in proof.self_attested_attrs:
        said = proof.self_attested_attrs[referent]
        return Answer(referent, asked.all_names, How.SELF_ATTESTED, {}, said, None, None)
    one, group = proof.revealed_attrs.get(referent), proof.revealed_attr_groups.get(referent)
    index = one.sub_proof_index if one else cast("Any", group).sub_proof_index
    shown = (
        {asked.all_names[0]: one.raw}
        if one
        else {name: value.raw for name, value in cast("Any", group).values.items()}
    )
    values = {name: canonical(raw) for name, raw in shown.items()}
    spelt = {name: raw for name, raw in shown.items() if values[name] != raw}
    source = _source(question, index)
    return Answer(referent, asked.all_names, How.REVEALED, values, None, None, source, spelt)


def _source(question: Question, index: int) -> Source:
    facts = _facts(question, index)
    return Source(index, facts.cred_def_id, facts.schema_id, facts.issuer_id)


def _nothing(request: PresentationRequest, referent: str) -> Answer:
    asked = request.asked[referent]
    names = asked.all_names if isinstance(asked, Attribute) else (asked.name,)
    predicate = str(asked) if isinstance(asked, Predicate) else None
    return Answer(referent, names, How.MISSING, {}, None, predicate, None)


def _notices(question: Question, answers: tuple[Answer, ...]) -> Iterator[Reason]:
    open_ones = set(unbound(question.request))
    for answer in answers:
        item = _item(question.request, answer.referent)
        if answer.how is How.SELF_ATTESTED:
            yield Reason("SEC-P09", f"{item} is the holder's own word, and no credential's")
        elif answer.referent in open_ones and answer.source is not None:
            issuer = answer.source.issuer_id
            yield Reason("SEC-P10", f"issuer not pinned: {item} comes from {issuer}")
        for name in answer.unsigned_spellings:
            words = f"of {name[:LONGEST]!r} only the number is signed, not the holder's spelling of it"
            yield Reason("SEC-P02", f"{item}: {words}")
    yield from _open_above(question)
    for index in range(len(question.shown.identifiers)):
        if _revocable(question, index):  # asked about, it was refused above: not built yet
            which = _credential(question, index)
            yield Reason("SEC-P33", f"{which} can be revoked, and whether it is was not asked")
    ids = Counter(identifier.cred_def_id for identifier in question.shown.identifiers)
    for name in [name for name, often in ids.items() if often > 1]:
        yield Reason("SEC-P11", f"answers come from {ids[name]} credentials of {name!r}")


def _open_above(question: Question) -> Iterator[Reason]:
    """P38: > and >= of an attribute of which the same credential proves no upper bound."""
    asked = question.request.requested_predicates
    shown = question.shown.requested_proof.predicates
    place = {key: (common_name(asked[key].name), shown[key].sub_proof_index) for key in asked}
    bounded = {place[key] for key, each in asked.items() if each.p_type in {"<", "<="}}
    for key, each in asked.items():
        if each.p_type in {">", ">="} and place[key] not in bounded:
            words = "the value may be a text, which is signed as a large number; only an upper bound"
            words = (
                f"{words} from the same credential, or what its issuer promises, excludes it"
            )
            yield Reason("SEC-P38", f"{_item(question.request, key)}: {words}")


def _plain(reason: Reason) -> Json:
    return {"rule": reason.rule, "words": reason.words}


def _plain_answer(answer: Answer) -> Json:
    source = answer.source
    return {
        "referent": answer.referent,
        "names": list(answer.names),
        "how": answer.how.value,
        "values": dict(answer.values),
        "unsigned_spellings": dict(answer.unsigned_spellings),
        "said": answer.said,
        "predicate": answer.predicate,
        "source": source
        and {
            "credential": source.credential,
            "cred_def_id": source.cred_def_id,
            "schema_id": source.schema_id,
            "issuer_id": source.issuer_id,
        },
    }
