"""The default rules of a ledger, and thereby the names of all rules.

Source: indy-node 1.13 `indy_common/authorize/auth_map.py`. A rule that is not on the ledger is taken from
this table by every node; a transaction cannot add a rule.
"""

from __future__ import annotations

from keep_ledger.codes import ENDORSER, NETWORK_MONITOR, ROLE_NAMES, STEWARD, TRUSTEE
from keep_ledger.multisig.rules.auth_rules import (
    Constraint,
    Forbidden,
    Or,
    Role,
    RuleKey,
    Rules,
)

_TRUSTEE, _STEWARD, _ENDORSER = Role(TRUSTEE, 1), Role(STEWARD, 1), Role(ENDORSER, 1)
_OWNER = Role("*", 1, need_to_be_owner=True)
_OWN_STEWARD = Role(STEWARD, 1, need_to_be_owner=True)
_WRITERS = Or((_TRUSTEE, _STEWARD, _ENDORSER))
_STEWARDS = Or((_STEWARD, _TRUSTEE))
_ROLES = (*ROLE_NAMES, "")
_RICH = ("200", "201", "202", "203", "204", "205")

_TABLE: dict[str, Constraint] = {
    "1--ADD--role--*--0": _TRUSTEE,
    "1--ADD--role--*--2": _TRUSTEE,
    "1--ADD--role--*--101": _STEWARDS,
    "1--ADD--role--*--201": _STEWARDS,
    "1--ADD--role--*--": _WRITERS,
    "1--EDIT--verkey--*--*": _OWNER,
    "4--ADD--*--*--*": _TRUSTEE,
    "4--EDIT--*--*--*": _TRUSTEE,
    "8--ADD--*--*--*": _TRUSTEE,
    "5--ADD--*--*--*": _TRUSTEE,
    "100--ADD--*--*--*": _OWNER,
    "100--EDIT--*--*--*": _OWNER,
    "101--ADD--*--*--*": _WRITERS,
    "101--EDIT--*--*--*": Forbidden(),
    **{f"{rich}--ADD--*--*--*": _WRITERS for rich in _RICH},
    **{f"{rich}--EDIT--*--*--*": Forbidden() for rich in _RICH},
    "102--ADD--*--*--*": _WRITERS,
    "102--EDIT--*--*--*": _OWNER,
    "0--ADD--services--*--['VALIDATOR']": _OWN_STEWARD,
    "0--ADD--services--*--[]": _OWN_STEWARD,
    "0--EDIT--services--['VALIDATOR']--[]": Or((_TRUSTEE, _OWN_STEWARD)),
    "0--EDIT--services--[]--['VALIDATOR']": Or((_TRUSTEE, _OWN_STEWARD)),
    "0--EDIT--node_ip--*--*": _OWN_STEWARD,
    "0--EDIT--node_port--*--*": _OWN_STEWARD,
    "0--EDIT--client_ip--*--*": _OWN_STEWARD,
    "0--EDIT--client_port--*--*": _OWN_STEWARD,
    "0--EDIT--blskey--*--*": _OWN_STEWARD,
    "109--ADD--action--*--start": _TRUSTEE,
    "109--EDIT--action--start--cancel": _TRUSTEE,
    "118--ADD--action--*--*": _TRUSTEE,
    "111--EDIT--action--*--*": _TRUSTEE,
    "120--EDIT--*--*--*": _TRUSTEE,
    "122--EDIT--*--*--*": _TRUSTEE,
    "119--ADD--*--*--*": Or((_TRUSTEE, _STEWARD, Role(NETWORK_MONITOR, 1))),
    "113--ADD--*--*--*": _WRITERS,
    "114--ADD--*--*--*": Or(
        tuple(Role(r, 1, need_to_be_owner=True) for r in (TRUSTEE, STEWARD, ENDORSER))
    ),
    "113--EDIT--*--*--*": _OWNER,
    "114--EDIT--*--*--*": _OWNER,
    "9--EDIT--*--*--*": Role(TRUSTEE, 3),
    "130--EDIT--*--*--*": _TRUSTEE,
    **{
        f"1--EDIT--role--{old}--{new}": _OWNER if old == new else _TRUSTEE
        for old in _ROLES
        for new in _ROLES
    },
    "1--EDIT--role--201--101": _STEWARDS,
    "1--EDIT--role--201--": _STEWARDS,
    "1--EDIT--role----101": _STEWARDS,
    "1--EDIT--role----201": _STEWARDS,
}

DEFAULTS: Rules = {RuleKey.parse(text): constraint for text, constraint in _TABLE.items()}
"""All rules, as they are until they are changed."""
