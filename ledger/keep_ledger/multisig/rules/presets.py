"""Files of wanted quorums to begin with, commented for those who will change them."""

from __future__ import annotations

from keep_ledger.multisig.errors import RefusedError

_SIZES = {"2-of-2": (2, 2), "2-of-3": (2, 3), "3-of-5": (3, 5), "custom": (3, 5)}
PRESETS = tuple(_SIZES)

_HEAD = """\
# Who governs this ledger. Nothing happens until a proposal made of it was signed and submitted:
#   indykeep govern diff FILE                what would change on the ledger
#   indykeep govern drill FILE               try it on a network of your own, for real
#   indykeep govern propose FILE --author DID --out rules.psit
trustees:
  members: {members}      # how many trustees there are
  quorum: {quorum}       # how many of them decide together
"""
_RECOVERY = """\

# So many trustees may give a DID whose key is lost another one. It is never less than any quorum
# here: who can take over a trustee can sign as that trustee. Without this a lost key stays lost.
recovery:
  quorum: {quorum}
"""
_NO_RECOVERY = """\

# With two of two nobody is left to replace a lost key, and nothing can be decided without it:
# prefer 2-of-3, or keep each key on paper (indykeep recovery).
"""
_STEWARDS = """\

# On a new ledger any one steward may register endorsers and monitors.
stewards_register_endorsers: false
"""
_CUSTOM = """\

# Quorums for what is decided otherwise than the rest. To make trustees and to change rules
# never takes fewer than anything else, since who can do that can do everything.
topics:
  roles: {quorum}        # who is a trustee, steward, endorser or monitor
  schemas: {quorum}      # schemas, credential definitions, revocation (endorsers and stewards still may)
  nodes: {quorum}        # nodes in and out of the consensus (stewards still may with their own)
  agreement: {quorum}    # the author agreement
  upgrade: {quorum}      # upgrades, restarts, frozen ledgers
  rules: {quorum}        # the rules themselves

# Single rules by the name that the ledger gives them: a number of trustees, nobody, or a
# constraint as the ledger has it.
custom:
  101--EDIT--*--*--*: nobody       # change a schema
"""


def preset(name: str) -> str:
    """A commented file to begin with.

    Raises:
        RefusedError: there is none of that name.
    """
    if name not in _SIZES:
        raise RefusedError(f"there is no preset {name!r}: {', '.join(PRESETS)}")
    quorum, members = _SIZES[name]
    recovery = _RECOVERY if quorum < members else _NO_RECOVERY
    text = _HEAD + recovery + _STEWARDS + (_CUSTOM if name == "custom" else "")
    return text.format(members=members, quorum=quorum)
