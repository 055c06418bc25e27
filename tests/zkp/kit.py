"""What the tests of this room share: the vectors, and a desk that presents and verifies."""

from __future__ import annotations

import copy
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from keep_zkp import holder, issuer, verifier
from keep_zkp.json_object import Json
from keep_zkp.native import Native, Scope
from keep_zkp.requests import (
    Attribute,
    Predicate,
    PresentationRequest,
    from_cred_def,
    make_request,
    new_nonce,
    reveal,
)
from keep_zkp.restrictions import Query
from keep_zkp.verdict import Verdict
from keep_zkp.voices import Voices

VECTORS = Path(__file__).parent / "vectors"
ADULT = 20081122  # born on or before: 18 on 22 November 2026


@cache
def keys() -> Json:
    """Schemas by id, credential definitions by short name."""
    return json.loads((VECTORS / "keys.json").read_text("utf-8"))  # type: ignore[no-any-return] # JSON


@cache
def _credentials() -> Json:
    return json.loads((VECTORS / "credentials.json").read_text("utf-8"))  # type: ignore[no-any-return] # JSON


def cred_def(name: str) -> Json:
    """Return id, schema_id, public, TEST_ONLY_private and key_proof of a definition."""
    return copy.deepcopy(keys()["cred_defs"][name])


def cred_def_id(name: str) -> str:
    """Return the ledger id behind a short name."""
    found = keys()["cred_defs"][name]["id"]
    assert isinstance(found, str)
    return found


def source(name: str) -> Query:
    """Restrict to one of our credential definitions."""
    return from_cred_def(cred_def_id(name))


def held(name: str) -> Json:
    """Return a credential as it lies in a wallet."""
    return copy.deepcopy(_credentials()["held"][name]["credential"])


def link_secret(person: str) -> str:
    """Return the published test secret of alice or bob."""
    found = _credentials()["TEST_ONLY_link_secrets"][person]
    assert isinstance(found, str)
    return found


def over_18(cred: str = "licence") -> Predicate:
    """Ask "18 on 22 November 2026" of one kind of credential."""
    return Predicate(
        name="birthdate_dateint", p_type="<=", p_value=ADULT, restrictions=source(cred)
    )


def ask(
    attributes: Mapping[str, Attribute] | None = None,
    predicates: Mapping[str, Predicate] | None = None,
    *,
    accept_any_issuer: bool = False,
) -> PresentationRequest:
    """Make a request with a fresh nonce."""
    return make_request(
        "test",
        attributes=attributes or {},
        predicates=predicates or {},
        accept_any_issuer=accept_any_issuer,
    )


def new_request(
    attributes: Mapping[str, Attribute], predicates: Mapping[str, Predicate] | None = None
) -> PresentationRequest:
    """Make a request without the checks on our own: as a peer or a careless caller would."""
    return PresentationRequest(
        name="test",
        version="1.0",
        nonce=new_nonce(),
        requested_attributes=attributes,
        requested_predicates=predicates or {},
    )


def bar_question() -> PresentationRequest:
    """Ask what the bar asks: over 18, the category, and name and number together."""
    return ask(
        {
            "category": reveal("category", source=source("licence")),
            "person": reveal("name", "number", source=source("licence")),
        },
        {"adult": over_18()},
    )


@dataclass
class Desk:
    """One wallet and one verifier over the real library, and the ledger of the vectors."""

    scope: Scope
    voices: Voices = field(default_factory=Voices)
    schemas: Json = field(default_factory=lambda: copy.deepcopy(keys()["schemas"]))
    cred_defs: Json = field(
        default_factory=lambda: {
            each["id"]: copy.deepcopy(each["public"]) for each in keys()["cred_defs"].values()
        }
    )

    async def present(
        self,
        request: PresentationRequest,
        using: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]],
        *,
        self_attested: Mapping[str, str] | None = None,
        person: str = "alice",
    ) -> Json:
        """Answer `request` with credentials of the vectors: name -> (attributes, predicates)."""
        chosen = [holder.Chosen(held(name), *referents) for name, referents in using.items()]
        return await self.present_chosen(
            request, chosen, self_attested=self_attested, person=person
        )

    async def present_chosen(
        self,
        request: PresentationRequest,
        chosen: Sequence[holder.Chosen],
        *,
        self_attested: Mapping[str, str] | None = None,
        person: str = "alice",
    ) -> Json:
        """Answer `request` with any credentials."""
        return await holder.create_presentation(
            self.scope,
            request=request,
            chosen=chosen,
            self_attested=self_attested or {},
            link_secret=link_secret(person),
            schemas=self.schemas,
            cred_defs=self.cred_defs,
        )

    async def offer(self, name: str) -> Json:
        """Offer a credential of one kind."""
        keys = cred_def(name)
        return await issuer.create_offer(
            self.scope,
            schema_id=keys["schema_id"],
            cred_def_id=keys["id"],
            key_proof=keys["key_proof"],
        )

    async def answer(
        self, name: str, offer: Json, checked: Container[str] = ()
    ) -> holder.Requested:
        """Request what is offered, for alice.

        Args:
            checked: the keys and proofs that she remembers; none: the library makes the request.
        """

        async def is_checked(pair: str) -> bool:
            return pair in checked

        return await holder.create_request(
            self.scope,
            offer=offer,
            cred_def_id=cred_def_id(name),
            cred_def=cred_def(name)["public"],
            link_secret=link_secret("alice"),
            is_checked=is_checked,
        )

    async def sign(
        self, name: str, offer: Json, request: Json, values: Mapping[str, str]
    ) -> Json:
        """Issue, as the owner of the keys."""
        keys = cred_def(name)
        return await issuer.create_credential(
            self.scope,
            cred_def=keys["public"],
            private=keys["TEST_ONLY_private"],
            offer=offer,
            request=request,
            values=values,
        )

    async def store(
        self,
        name: str,
        offer: Json,
        asked: holder.Requested,
        credential: Json,
        accepted: Mapping[str, str],
    ) -> Json:
        """Check and process, for alice."""
        return await holder.process_credential(
            self.scope,
            credential=credential,
            metadata=asked.metadata,
            offer=offer,
            cred_def=cred_def(name)["public"],
            link_secret=link_secret("alice"),
            accepted=accepted,
        )

    async def issue(self, name: str, values: Mapping[str, str]) -> Json:
        """Run a whole issuance to alice."""
        offer = await self.offer(name)
        asked = await self.answer(name, offer)
        credential = await self.sign(name, offer, asked.request, values)
        return await self.store(name, offer, asked, credential, values)

    async def verify(
        self, request: PresentationRequest, presentation: Json, **changes: Any
    ) -> Verdict:
        """Judge with the ledger of the vectors, strictly unless `changes` say otherwise."""
        arguments: Json = {
            "schemas": self.schemas,
            "cred_defs": self.cred_defs,
            "accept_any_issuer": False,
            **changes,
        }
        return await verifier.verify(
            self.scope, self.voices, request=request, presentation=presentation, **arguments
        )

    async def refuse(
        self, request: PresentationRequest, presentation: Json, **changes: Any
    ) -> Verdict:
        """Judge without the library: were it asked, there would be no room for it."""
        native = Native(threads=1, room=0, deadline_s=1)
        return await Desk(Scope(native, keep=1)).verify(request, presentation, **changes)


@dataclass(frozen=True)
class Case:
    """A question and a presentation that answers it; `presentation` is a fresh copy each time."""

    request: PresentationRequest
    original: Json

    @property
    def presentation(self) -> Json:
        """A copy to spoil."""
        return json.loads(json.dumps(self.original))  # type: ignore[no-any-return] # JSON


def rules(verdict: Verdict) -> set[str]:
    """Return the names of the rules that a verdict says are broken."""
    return {reason.rule for reason in verdict.reasons}


def proved(presentation: Any, index: int = 0) -> Any:
    """Return the numbers about one of the credentials presented."""
    return presentation["proof"]["proofs"][index]["primary_proof"]


def new_scope() -> Scope:
    """Return a scope over threads of its own."""
    return Scope(Native(threads=2, room=64, deadline_s=30), keep=32)
