"""QR codes carry a proposal: written by one library, read by another, whole or not at all."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
import segno
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.multisig.proposal.test_request_decoder import GOOD
from ledger.multisig.sample_proposals import ANA, BEN, body
from PIL import Image

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.qr_frames import from_frames, to_frames

RULE: dict[str, Any] = {
    "type": "120",
    "auth_type": "1",
    "auth_action": "ADD",
    "field": "role",
    "new_value": "101",
    "constraint": {
        "constraint_id": "OR",
        "auth_constraints": [
            {"constraint_id": "ROLE", "role": "0", "sig_count": 3},
            {
                "constraint_id": "AND",
                "auth_constraints": [
                    {"constraint_id": "ROLE", "role": "0", "sig_count": 1},
                    {"constraint_id": "ROLE", "role": "2", "sig_count": 2},
                ],
            },
        ],
    },
}
PAIR = (ANA.cosigner(), BEN.cosigner())
LARGE = random.Random(7).randbytes(3000) + Proposal(body()).to_bytes()


def scanned(text: str) -> str:
    """Draw it, look at the picture."""
    out = io.BytesIO()
    segno.make_qr(text, error="m", boost_error=False).save(out, kind="png", scale=4)
    kind = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
    found = zxingcpp.read_barcodes(Image.open(out).convert("L"), formats=kind)
    assert len(found) == 1
    return found[0].text


@pytest.mark.parametrize(
    "operation", [GOOD[0], GOOD[3], RULE], ids=["NYM", "SCHEMA", "AUTH_RULE"]
)
def test_two_signatures_fit_one_code(operation: dict[str, Any]) -> None:
    proposal = Proposal(body(operation, cosigners=PAIR))
    for one in (ANA, BEN):
        proposal = one.says(proposal, "sign")
    [frame] = to_frames(proposal.to_bytes())
    assert from_frames([scanned(frame)]) == proposal.to_bytes()


def test_what_is_too_large_for_one_code_goes_through_several_in_any_order() -> None:
    frames = to_frames(LARGE)
    read = [scanned(frame) for frame in reversed(frames)]
    assert len(frames) > 3
    assert from_frames([*read, read[0]]) == LARGE


@settings(max_examples=100)
@given(st.data())
def test_a_damaged_or_missing_frame_is_noticed(data: st.DataObject) -> None:
    frames = to_frames(LARGE)
    which = data.draw(st.integers(0, len(frames) - 1))
    # but for the last letter, of which some bits may mean nothing
    place = data.draw(st.integers(0, len(frames[which]) - 2))
    other = data.draw(st.sampled_from("A2Z/0 ").filter(lambda c: c != frames[which][place]))
    text = frames[which][:place] + other + frames[which][place + 1 :]
    with pytest.raises(RefusedError, match=r"frame"):
        from_frames([*frames[:which], text, *frames[which + 1 :]])
    with pytest.raises(RefusedError, match=f"missing: {which + 1}$"):
        from_frames([*frames[:which], *frames[which + 1 :]])


def test_frames_of_two_proposals_are_not_mixed() -> None:
    with pytest.raises(RefusedError, match="of 2 proposals"):
        from_frames([to_frames(LARGE)[0], to_frames(LARGE[1:])[1]])
    with pytest.raises(RefusedError, match="two different frames with number 1"):
        from_frames([to_frames(LARGE)[0], to_frames(LARGE)[0][:-3]])
    with pytest.raises(RefusedError, match="no frame"):
        from_frames([])


def test_what_unpacks_to_far_too_much_is_refused() -> None:
    frames = to_frames(bytes(1 << 22))
    with pytest.raises(RefusedError, match="too large"):
        from_frames(frames)
