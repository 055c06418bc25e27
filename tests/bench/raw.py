"""What AnonCreds costs with the bare library: the limit that agents are measured against.

As many threads as there are cores run at once, as in the agents, so that both pay alike for shared
caches and a shared clock. Costs are CPU, user and system, of the thread that ran the step.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import mean
from typing import TypeVar

import anoncreds
from zkp.kit import ADULT, cred_def, keys

VALUES = {
    "name": "Alice",
    "birthdate_dateint": "19990512",
    "category": "B",
    "number": "L-77 123",
}
ISSUING = ("offer", "request", "issue", "process")
PROVING = ("present", "verify")

T = TypeVar("T")


@dataclass
class Raw:
    """Measurements of the six steps, gathered in rounds spread over the whole run.

    Attributes:
        spent: CPU seconds of each call, by step.
    """

    spent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list[float]))

    def round(self, count: int) -> None:
        """Issue, store, show and verify `count` credentials on each core."""
        anoncreds.library_version()  # loads it, which two threads at once must not
        threads = os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self._many, [count] * threads))

    def ms(self, *steps: str) -> float:
        """Return the mean CPU of these steps together, in milliseconds."""
        return 1000 * sum(mean(self.spent[step]) for step in steps)

    @property
    def credential_ms(self) -> float:
        """CPU of one credential, from offer to processed."""
        return self.ms(*ISSUING)

    @property
    def presentation_ms(self) -> float:
        """CPU of one presentation with one predicate, made and verified."""
        return self.ms(*PROVING)

    def _many(self, count: int) -> None:
        bench = _Bench(self)
        for _ in range(count):
            bench.prove(bench.issue())

    def step(self, name: str, call: Callable[[], T]) -> T:
        """Call and note what it cost."""
        began = time.thread_time()
        result = call()
        self.spent[name].append(time.thread_time() - began)
        return result


class _Bench:
    """One thread's objects of the library, parsed before anything is measured."""

    def __init__(self, raw: Raw) -> None:
        licence = cred_def("licence")
        self._step = raw.step
        self._ids = licence["schema_id"], licence["id"]
        self._schema = anoncreds.Schema.load(keys()["schemas"][licence["schema_id"]])
        self._public = anoncreds.CredentialDefinition.load(licence["public"])
        self._private = anoncreds.CredentialDefinitionPrivate.load(licence["TEST_ONLY_private"])
        self._proof = anoncreds.KeyCorrectnessProof.load(licence["key_proof"])
        self._secret = anoncreds.create_link_secret()

    def issue(self) -> anoncreds.Credential:
        """Issue to ourselves."""
        offer = self._step(
            "offer", lambda: anoncreds.CredentialOffer.create(*self._ids, self._proof)
        )
        request, metadata = self._step(
            "request",
            lambda: anoncreds.CredentialRequest.create(
                anoncreds.generate_nonce(), None, self._public, self._secret, "main", offer
            ),
        )
        credential = self._step(
            "issue",
            lambda: anoncreds.Credential.create(
                self._public, self._private, offer, request, VALUES
            ),
        )
        return self._step(
            "process", lambda: credential.process(metadata, self._secret, self._public)
        )

    def prove(self, credential: anoncreds.Credential) -> None:
        """Show the category, prove the age, and verify both."""
        request = anoncreds.PresentationRequest.load(question(self._ids[1]))
        chosen = anoncreds.PresentCredentials()
        chosen.add_attributes(credential, "category", reveal=True)
        chosen.add_predicates(credential, "adult")
        objects = {self._ids[0]: self._schema}, {self._ids[1]: self._public}
        shown = self._step(
            "present",
            lambda: anoncreds.Presentation.create(request, chosen, {}, self._secret, *objects),
        )
        assert self._step("verify", lambda: shown.verify(request, *objects))


def question(cred_def_id: str) -> dict[str, object]:
    """Return the request that is measured everywhere: one attribute shown, one predicate."""
    source = [{"cred_def_id": cred_def_id}]
    return {
        "name": "over 18",
        "version": "1.0",
        "nonce": anoncreds.generate_nonce(),
        "requested_attributes": {"category": {"name": "category", "restrictions": source}},
        "requested_predicates": {
            "adult": {
                "name": "birthdate_dateint",
                "p_type": "<=",
                "p_value": ADULT,
                "restrictions": source,
            }
        },
    }
