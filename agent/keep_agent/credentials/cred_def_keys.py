"""Keys of a new credential definition: made by a job, stored when the definition is published."""

from __future__ import annotations

from collections.abc import Sequence

from keep_agent.core.machine import Put
from keep_agent.core.message import Json
from keep_agent.credentials.formats import Ids
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.spelling import network_of, spelled
from keep_agent.credentials.wallet import errors_as, new_cred_def
from keep_agent.errors import BadCommandError
from keep_ledger.interface import Schema
from keep_zkp.encode import common_name
from keep_zkp.issuer import CredDefKeys, create_cred_def
from keep_zkp.native import Scope


async def schema_for(
    objects: LedgerObjects, schema_id: str, issuer: str, predicates: Sequence[str]
) -> Schema:
    """Return the schema of a new credential definition.

    Raises:
        BadCommandError: no configured network has the schema, the issuer is of another network, or it
            has not every attribute of `predicates` (SEC-I09).
        UnavailableError: a network does not answer.
    """
    schema = await objects.schema(schema_id)
    if schema is None:
        raise BadCommandError(f"no configured ledger has the schema {schema_id}")
    names = {common_name(name) for name in schema.attr_names}
    unknown = [name for name in predicates if common_name(name) not in names]
    if unknown:
        words = f"SEC-I09: predicates: the schema has no attribute {unknown[0][:64]!r}"
        raise BadCommandError(f"{words}; it has: {', '.join(schema.attr_names)}")
    network = network_of(schema.id)
    if network_of(issuer) not in {"", network}:
        raise BadCommandError(f"{issuer} is not of the network {network}, which has the schema")
    return schema


async def make_keys(
    scope: Scope,
    objects: LedgerObjects,
    schema_id: str,
    issuer: str,
    tag: str,
    predicates: Sequence[str],
    ids: Ids,
) -> tuple[Json, Json, str]:
    """Make the keys: 3 to 30 seconds of CPU. Returns the public object, the secret rest, the network.

    Args:
        schema_id: in either form.
        issuer: a DID in either form; one without network is taken in that of the schema.
        ids: the form of the ids in the public object.

    Raises:
        BadCommandError: as of `schema_for`, or no keys can be made for the schema.
        UnavailableError: a network does not answer, or too many keys are being made.
    """
    schema = await schema_for(objects, schema_id, issuer, predicates)
    network = network_of(schema.id)
    with errors_as(BadCommandError, "keys cannot be made for this schema"):
        keys = await create_cred_def(
            scope,
            schema_id=spelled(schema.id, ids, network),
            schema=objects.schema_json(schema, ids),
            issuer_id=spelled(issuer, ids, network),
            tag=tag,
            revocable=False,
        )
    secret = {"private": keys.private, "key_proof": keys.key_proof}
    return keys.public, secret, network


def store_keys(
    cred_def_id: str, network: str, public: Json, secret: Json, predicates: Sequence[str]
) -> tuple[Put, ...]:
    """Return the records of a definition that is on the ledger."""
    keys = CredDefKeys(public, secret["private"], secret["key_proof"])
    return new_cred_def(cred_def_id, network, keys, predicates)
