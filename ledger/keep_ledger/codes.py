"""The numbers that Indy gives to ledgers, roles and types of transactions.

Source: indy-plenum `common/constants.py` and indy-node `indy_common/constants.py`.
"""

from __future__ import annotations

from enum import StrEnum

POOL, DOMAIN, CONFIG = 0, 1, 2
LEDGER_NAMES = {POOL: "pool", DOMAIN: "domain", CONFIG: "config"}

NODE, NYM, ATTRIB, SCHEMA, CRED_DEF = "0", "1", "100", "101", "102"
GET_NYM = "105"
REVOC_REG_DEF, REVOC_REG_ENTRY = "113", "114"
TAA, TAA_AML, TAA_DISABLE = "4", "5", "8"

DOMAIN_TYPES = frozenset({NYM, ATTRIB, SCHEMA, CRED_DEF, REVOC_REG_DEF, REVOC_REG_ENTRY})
CONFIG_TYPES = frozenset({TAA, TAA_AML, TAA_DISABLE, "109", "110", "111", "120", "122"})

TRUSTEE, STEWARD, ENDORSER, NETWORK_MONITOR = "0", "2", "101", "201"


class Role(StrEnum):
    """A role on the ledger; the value is the code in a NYM transaction. No role is None."""

    TRUSTEE = TRUSTEE
    STEWARD = STEWARD
    ENDORSER = ENDORSER
    NETWORK_MONITOR = NETWORK_MONITOR


ROLE_NAMES = {role.value: role.name for role in Role}


def role_name(code: str | None) -> str:
    """`ENDORSER`; `no role` for a DID without one; a code that Indy does not have as it is."""
    return ROLE_NAMES.get(code, code) if code else "no role"
