"""The DIDs of ours that peers see: made for an invitation or a connection as its command chooses."""

from __future__ import annotations

from typing import Protocol as Port

from keep_agent.core.machine import PutKey
from keep_agent.core.message import Attachment, Json
from keep_agent.errors import BadCommandError, NotFoundError, PeerError
from keep_agent.identity.did_choice import (
    DID_CHOICE,
    KEY,
    NAME,
    PEER_2,
    PEER_4,
    PUBLIC,
    DidChoice,
    Inviter,
    NewDid,
)
from keep_agent.identity.did_resolver import Resolver
from keep_agent.identity.dids import Did
from keep_agent.identity.keys import Keys, NewKey, did_key
from keep_agent.identity.peer_dids import create_peer2, create_peer4, read_within
from keep_agent.identity.public_dids import ANOTHER_KEY, OWN_DID, PUBLIC_DID, PublicDid
from keep_agent.identity.signed_attachments import sign

SERVICE_TYPE = "did-communication"

_MAKE = {PEER_2: create_peer2, PEER_4: create_peer4}


class Records(Port):
    """What is read of the tenant's store; see `store.Profile`."""

    async def fetch(self, category: str, name: str) -> Json | None:
        """Return a record, or None."""
        ...

    async def find(
        self, category: str, tags: dict[str, str] | None = None, limit: int | None = None
    ) -> list[tuple[str, Json]]:
        """Return (name, record) of all that carry these tags, oldest first."""
        ...


class OwnDids:
    """Makes and vouches for the DIDs of one tenant; stores nothing.

    Args:
        endpoint: URL that peers reach this tenant on.
    """

    def __init__(self, records: Records, keys: Keys, resolver: Resolver, endpoint: str) -> None:
        self.endpoint = endpoint
        self._records = records
        self._keys = keys
        self._resolver = resolver

    async def choice(self) -> DidChoice:
        """Return what this tenant shows where a command does not say it."""
        record = await self._records.fetch(DID_CHOICE, NAME)
        return DidChoice.model_validate(record or {})

    async def for_invitation(self, invitation: str, choice: str | None) -> Inviter:
        """Return how we stand in an invitation of this id."""
        choice = choice or (await self.choice()).invitation
        if choice not in {KEY, *_MAKE}:
            ours, verkey = await self._usable(choice)
            return Inviter(ours.shown, verkey, did=ours.did)
        key = self.new_key({"invitation": invitation})
        if choice == KEY:
            return Inviter(self._inline(key.verkey), key.verkey, (key,))
        return Inviter(self._peer_did(choice, key.verkey), key.verkey, (key,))

    async def for_connection(self, connection: str, choice: str | None) -> NewDid:
        """Return our DID for a connection."""
        choice = choice or (await self.choice()).connection
        if choice not in _MAKE:
            ours, verkey = await self._usable(choice)
            return NewDid(ours.shown, verkey)
        key = self.new_key({"connection": connection})
        return NewDid(self._peer_did(choice, key.verkey), key.verkey, (key,))

    async def check_for_connection(self, choice: str | None) -> None:
        """Check that we can show a DID on a connection to be."""
        choice = choice or (await self.choice()).connection
        if choice not in _MAKE:
            await self._usable(choice)

    def new_key(self, purpose: Json) -> PutKey:
        """Make a key for a purpose, kept as its metadata."""
        made = NewKey.generate(purpose)
        return PutKey(made.verkey, made.key, made.metadata)

    async def vouch(self, verkey: str, ours: NewDid) -> Attachment:
        """Sign a DID of ours with the key of the invitation that a peer answered (SEC-D05).

        That key may be one of a ledger, which signs no text of a peer.

        Raises:
            NotFoundError: the key, or that of the DID, is not ours.
        """
        key = await self._keys.load(verkey)
        if key is None:
            raise NotFoundError("the key that must sign is gone")
        if not await self._is_ours(ours):
            raise NotFoundError("SEC-D05: a key of ours signs no DID of others")
        return sign(key, ours.did.encode())

    async def _is_ours(self, shown: NewDid) -> bool:
        if any(each.shown == shown.did for each in await self.public()):
            return True
        within = read_within(Did(shown.did))
        if within is None or within.didcomm.recipient_keys != (shown.verkey,):
            return False
        made = any(isinstance(w, PutKey) and w.verkey == shown.verkey for w in shown.writes)
        return made or await self._keys.load(shown.verkey) is not None

    async def public(self) -> list[PublicDid]:
        """Return the public DIDs of this tenant: one for each ledger, at most."""
        found = await self._records.find(PUBLIC_DID)
        return [PublicDid.model_validate(record) for _, record in found]

    async def _usable(self, choice: str) -> tuple[PublicDid, str]:
        """Return the public DID that a choice means, and its key, when peers can reach us by it.

        Raises:
            BadCommandError: none or several are meant, or the ledger does not lead to us.
        """
        ours = await self.public()
        fit = [each for each in ours if choice == PUBLIC or each.is_named(choice)]
        if not fit:
            who = (
                "this tenant has no public DID"
                if choice == PUBLIC
                else f"{choice} is not public"
            )
            raise BadCommandError(f"{who}: make a DID of ours public first")
        if len(fit) > 1:
            raise BadCommandError(
                f"there are several public DIDs; name one: {', '.join(each.did for each in fit)}"
            )
        verkey = str((await self._records.fetch(OWN_DID, fit[0].did) or {}).get("verkey"))
        try:
            service = (await self._resolver.resolve(fit[0].did)).document.didcomm
        except PeerError as error:
            raise BadCommandError(
                f"{fit[0].did} does not lead peers to us: {error}; it must be on the ledger, with an "
                "endpoint that we wrote"
            ) from error
        if verkey not in service.recipient_keys:
            raise BadCommandError(f"{fit[0].did}: {ANOTHER_KEY}")
        return fit[0], verkey

    def _peer_did(self, choice: str, verkey: str) -> Did:
        return _MAKE[choice](verkey, self.endpoint)

    def _inline(self, verkey: str) -> Json:
        return {
            "id": "#inline",
            "type": SERVICE_TYPE,
            "recipientKeys": [did_key(verkey)],
            "serviceEndpoint": self.endpoint,
        }
