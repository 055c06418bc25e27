"""A credential request without revocation, of a key that was checked before, beside the library's."""

from __future__ import annotations

import time
from statistics import median

import anoncreds
from bench.verifying import new_scope
from zkp.kit import Desk, cred_def


async def request_cost(count: int) -> dict[str, float]:
    """Return the CPU of a request by the library's; both read the offer."""
    licence, desk = cred_def("licence"), Desk(new_scope())
    public = anoncreds.CredentialDefinition.load(licence["public"])
    secret = anoncreds.create_link_secret()
    first = await desk.answer("licence", await desk.offer("licence"))
    checked = {first.checked} if first.checked else set[str]()
    library: list[float] = []
    ours: list[float] = []
    for _ in range(count):
        offer = await desk.offer("licence")
        began = time.process_time()
        parsed = anoncreds.CredentialOffer.load(offer)
        entropy = anoncreds.generate_nonce()
        anoncreds.CredentialRequest.create(entropy, None, public, secret, "default", parsed)
        between = time.process_time()
        await desk.answer("licence", offer, checked)
        library.append(between - began)
        ours.append(time.process_time() - between)
    return {
        "library_request_ms": 1000 * median(library),
        "request_ratio": median(ours) / median(library),
    }
