"""The parts of the web server, and what its handlers need of them."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from keep_network.supervisor import restarts
from keep_network.web.connection import Connection, Open
from keep_network.web.errors import NotFoundError, TokenError
from keep_network.web.events import Events
from keep_network.web.follow import Follower
from keep_network.web.health import Health
from keep_network.web.keys import Key
from keep_network.web.publish import publishing
from keep_network.web.registrar import Registrar, Registration, read_seed
from keep_network.web.settings import Settings
from keep_network.web.store import Store


@dataclass(frozen=True, slots=True)
class Server:
    """Everything that handlers share."""

    settings: Settings
    connection: Connection
    events: Events
    health: Health
    follower: Follower
    registrar: Registrar

    @classmethod
    def make(cls, settings: Settings, opens: Open) -> Self:
        """Put the parts together; nothing runs yet.

        Raises:
            BadRequestError: the seed of the settings makes no sense.
        """
        key = Key.derive(read_seed(settings.seed)[0]) if settings.seed else None
        if key and (settings.aml or settings.taa):
            opens = publishing(opens, key, settings.aml, settings.taa)
        connection, events = Connection(settings, opens), Events()
        health = Health(key, events)
        follower = Follower(settings, connection, events, health)
        registrar = Registrar(connection, health, key if settings.writes else None)
        return cls(settings, connection, events, health, follower, registrar)

    def status(self) -> dict[str, Any]:
        """Say how we are, in the form of the classic `/status`."""
        ready = self.connection.open is not None
        folder = self.settings.folder
        local = {"restarts": [asdict(one) for one in restarts(folder)]} if folder else {}
        return {
            "anonymous": self.settings.seed is None,
            "init_error": self.connection.error,
            "register_new_dids": self.settings.writes,
            "display_ledger_state": self.settings.display,
            "ready": ready,
            "syncing": ready and self.settings.display and self.follower.syncing,
            **local,
        }

    async def fresh(self) -> Store:
        """Return the copy of the ledgers, current.

        Raises:
            NotFoundError: this server does not show ledgers.
            UnavailableError: there is no connection to the nodes yet.
        """
        if not self.settings.display:
            raise NotFoundError("This server does not show the ledger (DISPLAY_LEDGER_STATE).")
        return await self.follower.fresh()

    async def register(self, wanted: Sequence[Registration], token: str) -> None:
        """Register DIDs, and let the copy of the ledgers follow; raises what `Registrar` does.

        Args:
            token: what the caller showed, empty for none.

        Raises:
            TokenError: it is not the one that this server asks for (SEC-H05).
        """
        asked = self.settings.token
        if asked and not hmac.compare_digest(token.encode(errors="replace"), asked.encode()):
            raise TokenError("Registering here needs the server's REGISTER_TOKEN (SEC-H05).")
        await self.registrar.register(wanted)
        self.follower.outdate()
