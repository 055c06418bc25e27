"""How ids are written: with their network (did:indy), or in the older form without one.

Both forms of an id name the same object only when it is known in which network it was found. So ids are
compared with their network; on the wire, each object has the form under which it was written or received.
"""

from __future__ import annotations

from collections.abc import Mapping

from keep_agent.core.message import Json
from keep_agent.credentials.formats import LEGACY, Family, Ids
from keep_agent.errors import BadCommandError
from keep_agent.store.profile import Profile
from keep_ledger.errors import BadIdError
from keep_ledger.identifiers import Did, parse, qualify, unqualify

PREFERENCES = "preferences"
ONLY = "tenant"


def unqualified(text: str) -> str:
    """Return an id in the form without network; a text that is not an Indy id stays as it is."""
    try:
        return unqualify(text)
    except BadIdError:
        return text


def qualified(text: str, network: str) -> str:
    """Return an id in the form that names its network; a text that is not an Indy id stays as it is.

    Args:
        network: where it was found; an id that names a network keeps its own.
    """
    try:
        return qualify(text, network)
    except BadIdError:
        return text


def spelled(text: str, ids: Ids, network: str) -> str:
    """Return an id in either form."""
    return qualified(text, network) if ids == "qualified" else unqualified(text)


def form(text: str) -> Ids:
    """Return the form of an id; `did:sov:` is another way to write one without network."""
    named = text.startswith("did:") and not text.startswith("did:sov:")
    return "qualified" if named else "unqualified"


def network_of(text: str) -> str:
    """Return the network that an id names; empty if it names none."""
    try:
        found = parse(text)
    except BadIdError:
        return ""
    return (found if isinstance(found, Did) else found.did).namespace or ""


def as_received(record: Json) -> dict[str, str]:
    """Return the ids of a held credential as it came, and the network in which they were found."""
    credential: Mapping[str, str] = record["credential"]
    network, ids = network_of(record["cred_def_id"]), form(credential["cred_def_id"])
    return {
        "cred_def_id": credential["cred_def_id"],
        "schema_id": credential["schema_id"],
        "issuer_id": spelled(record["issuer_id"], ids, network),
        "network": network,
    }


async def preferred(profile: Profile) -> Ids | None:
    """Return the form that a tenant prefers; None: each object has its own."""
    record = await profile.fetch(PREFERENCES, ONLY)
    return record["ids"] if record else None


async def on_the_wire(profile: Profile, family: Family, ids: Ids | None) -> Ids | None:
    """Return the form for a message of a family; None: each object has its own.

    Args:
        ids: what the command asks for; None: what the tenant prefers.

    Raises:
        BadCommandError: the family does not have that form.
    """
    if family == LEGACY:
        if ids == "qualified":
            raise BadCommandError("ids: the format hlindy has ids without network only")
        return "unqualified"
    return ids or await preferred(profile)
