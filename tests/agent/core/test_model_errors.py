"""What does not fit a model is said in words, and never with its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from keep_agent.core.model_errors import explained
from keep_agent.identity.did_choice import DidChoice
from keep_agent.protocols.issue_credential_2 import SendOffer, StoreCredential
from keep_agent.protocols.out_of_band import CreateInvitation


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        (
            DidChoice,
            {"invitation": "secret"},
            "invitation is wrong: an invitation shows one of: key, did:peer:2, did:peer:4, public, or a ",
        ),
        (
            DidChoice,
            {"connection": "key"},
            "connection is wrong: a request and a response show a DID: did:peer:2, did:peer:4, public, or ",
        ),
        (SendOffer, {"ids": "secret"}, "ids must be 'qualified' or 'unqualified'"),
        (
            StoreCredential,
            {"credential_id": "secret/"},
            "credential_id must have the form ^[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,99}$",
        ),
        (
            CreateInvitation,
            {"handshake_protocols": []},
            "offer a handshake, or attach something, or both",
        ),
        (SendOffer, dict.fromkeys("abcde", "secret"), "a is not known here; "),
    ],
)
def test_a_mistake_is_said_with_its_place_and_without_its_value(
    model: type[BaseModel], given: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as error:
        model.model_validate(given)
    said = explained(error.value)
    assert said.startswith(words)
    assert "secret" not in said


def test_who_gives_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ValidationError) as error:
        DidChoice.model_validate({"invitations": "key"})
    assert explained(error.value, DidChoice) == (
        "invitations is not known here; there are: invitation, connection"
    )
