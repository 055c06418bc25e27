"""SEC-R01: what a peer's long message costs is paid in threads, while the event loop serves others."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from agent.pair import Pair

from keep_agent.core import commit, dispatch, message
from keep_agent.core.message import LARGE, Json
from keep_agent.errors import RefusedError
from keep_agent.identity import signed_attachments
from keep_agent.identity.keys import LocalKey, NewKey
from keep_agent.protocols import present_proof_2 as pp
from keep_agent.store.store import Store

T = TypeVar("T")

LONG: Json = {"objects": [{f"k{i}": i for i in range(10)} for _ in range(4_000)]}
QUESTION = pp.SendRequest(
    request={"requested_attributes": {"a": {"name": "a", "restrictions": []}}},
    accept_any_issuer=True,
)


class Threads:
    """Notes in which threads a function was called with something long."""

    def __init__(self) -> None:
        self.seen: set[threading.Thread] = set()

    def noting(self, work: Callable[..., T], size: Callable[[Any], int]) -> Callable[..., T]:
        def noted(*given: Any) -> T:
            if size(given[-1]) > LARGE:
                self.seen.add(threading.current_thread())
            return work(*given)

        return noted


def presentation(thid: str, data: Json) -> Json:
    return {
        "@type": pp.Presentation.TYPE,
        "@id": "long",
        "~thread": {"thid": thid},
        "formats": [{"attach_id": "it", "format": "anoncreds/proof@v1.0"}],
        "presentations~attach": [{"@id": "it", "data": data}],
    }


@pytest.mark.parametrize("form", ["base64", "json"])
async def test_sec_r_01_a_long_message_is_read_outside_the_event_loop(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    threads, here = Threads(), threading.current_thread()
    hers, its = await pair.connect()
    x = await pair.faber.start(pp.PROTOCOL, QUESTION, its.id)
    await pair.alice.reached(pp.PROTOCOL, "request-received")

    def length(value: object) -> int:
        return len(value if isinstance(value, bytes) else json.dumps(value))

    noted = threads.noting(message.read_json, length)
    monkeypatch.setattr(message, "read_json", noted)
    monkeypatch.setattr(dispatch, "body_digest", threads.noting(commit.body_digest, length))
    monkeypatch.setattr(Store, "read_exchange", threads.noting(Store.read_exchange, length))
    packed = base64.b64encode(json.dumps(LONG).encode()).decode()
    data = {"json": LONG} if form == "json" else {"base64": packed}
    await pair.alice.stolen(hers, presentation(x.thid, data))
    pair.faber.profile.reader.forget_all()  # as when a long row is not cached any more
    kept = await pair.faber.profile.exchange(x.id)
    assert kept is not None
    assert kept.data.presentation == LONG
    assert threads.seen
    assert here not in threads.seen


def test_sec_r_01_a_signed_attachment_is_bounded_before_it_is_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = NewKey.generate({})
    key = LocalKey.of(made.verkey, made.key, {})
    fits, long = (signed_attachments.sign(key, b"x" * size) for size in (40_000, 60_000))
    assert signed_attachments.signer(fits) == key.verkey
    monkeypatch.delattr(signed_attachments, "verify")
    with pytest.raises(RefusedError, match="at most 65536 characters"):
        signed_attachments.signer(long)
