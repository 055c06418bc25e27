"""Files of wanted quorums to start from, with comments."""

from __future__ import annotations

from keep_ledger.multisig.errors import RefusedError

_SIZES = {"2-of-2": (2, 2), "2-of-3": (2, 3), "3-of-5": (3, 5), "custom": (3, 5)}
PRESETS = tuple(_SIZES)

_HEAD = """\
# Who governs this ledger. Nothing changes until a proposal made from it is signed and submitted:
#   indykeep govern diff FILE                what would change on the ledger
#   indykeep govern drill FILE               try it on a local network
#   indykeep govern propose FILE --author DID --out rules.psit
trustees:
  members: {members}      # how many trustees there are
  quorum: {quorum}       # how many of them must agree
"""
_RECOVERY = """\

# This many trustees can replace the lost key of a DID. It must not be less than any other quorum here:
# whoever can replace a trustee's key can sign as that trustee. Without it a lost key cannot be replaced.
recovery:
  quorum: {quorum}
"""
_NO_RECOVERY = """\

# With two of two nobody can replace a lost key, and nothing can be decided without it: prefer 2-of-3, or
# keep each key on paper (indykeep recovery).
"""
_STEWARDS = """\

# By default a single steward may register endorsers and monitors.
stewards_register_endorsers: false
"""
_CUSTOM = """\

# Quorums for topics that differ from the rest. Roles and rules must not take fewer than anything else,
# since whoever can change them can do everything.
topics:
  roles: {quorum}        # who is a trustee, steward, endorser or monitor
  schemas: {quorum}      # schemas, credential definitions, revocation (endorsers and stewards still may)
  nodes: {quorum}        # nodes in and out of the consensus (stewards still may for their own)
  agreement: {quorum}    # the author agreement
  upgrade: {quorum}      # upgrades, restarts, frozen ledgers
  rules: {quorum}        # the rules themselves

# Single rules by their names on the ledger: a number of trustees, nobody, or a constraint in the
# ledger's JSON.
custom:
  101--EDIT--*--*--*: nobody       # change a schema
"""


def preset(name: str) -> str:
    """A file to start from, with comments.

    Raises:
        RefusedError: there is no preset of that name.
    """
    if name not in _SIZES:
        raise RefusedError(f"there is no preset {name!r}: {', '.join(PRESETS)}")
    quorum, members = _SIZES[name]
    recovery = _RECOVERY if quorum < members else _NO_RECOVERY
    text = _HEAD + recovery + _STEWARDS + (_CUSTOM if name == "custom" else "")
    return text.format(members=members, quorum=quorum)
