"""`ursa`: Hyperledger Ursa's Python package cannot be installed any more; indy-bls takes over.

Without it a node has no BLS signatures, so nothing that it answers carries a state proof.
"""

from __future__ import annotations

from indy_bls.error import IndyBlsError as IndyCryptoError

__all__ = ["IndyCryptoError"]
__path__: list[str] = []  # so that `ursa.bls` and `ursa.indy_error` are looked up as submodules
