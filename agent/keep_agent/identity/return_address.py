"""Where the sender of a message is reached without a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol as Port
from typing import cast

from pydantic import ValidationError

from keep_agent.core.machine import Target
from keep_agent.core.message import Attachment, Json, Received
from keep_agent.errors import PeerError, UnavailableError
from keep_agent.identity.connections import Address


class Addresses(Port):
    """How services and DIDs are reached; see `introductions.Introductions`."""

    async def address(self, services: Sequence[str | Json]) -> Address:
        """Return how to reach the first service that we can use."""
        ...

    async def reach(self, did: str, document: Json | None) -> Address:
        """Return how to reach a DID, as its own method proves it (SEC-D01)."""
        ...

    def signer(self, attachment: Attachment) -> str:
        """Return the base58 key that signed an attachment."""
        ...


async def return_address(received: Received, addresses: Addresses) -> Target | None:
    """Return where a message says that its sender is reached, if that is for the sender's own key.

    It says so in its `~service` (RFC 0056), or by its `did`, as a request of DID exchange does.
    """
    if received.sender is None:
        return None
    try:
        address = await _address(received, addresses)
    except (PeerError, UnavailableError, ValidationError):
        return None
    if address is None or address.endpoint is None or received.sender not in address.recipients:
        return None
    return Target(
        endpoint=address.endpoint,
        recipients=(received.sender,),
        routing=address.routing,
        sender=received.recipient,
    )


async def _address(received: Received, addresses: Addresses) -> Address | None:
    service, did = received.body.get("~service"), received.body.get("did")
    if isinstance(service, dict):
        return await addresses.address([cast("Json", service)])
    if not isinstance(did, str):
        return None
    given = received.body.get("did_doc~attach")
    document = None
    if given is not None:
        attachment = Attachment.model_validate(given)
        if addresses.signer(attachment) != received.sender:
            return None
        content = attachment.content
        if not isinstance(content, dict):
            return None
        document = cast("Json", content)
    return await addresses.reach(did, document)
