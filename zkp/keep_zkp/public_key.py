"""An issuer's public key as numbers: the primary part of a credential definition.

Source: AnonCreds specification 1.0, credential definition; the names are those of its JSON. The
numbers are read once, strictly, and never again from JSON: whoever computes with them gets this type.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from keep_zkp.errors import InvalidError
from keep_zkp.json_object import Json

SECRET_NAME = "master_secret"  # noqa: S105 - the legacy name, which the wire keeps, of the link secret
_DIGITS = re.compile(r"[1-9][0-9]{0,1299}")


@dataclass(frozen=True, slots=True, eq=False)
class PublicKey:
    """The primary public key (n, S, Z, R, R_ctxt) of a credential definition.

    Attributes:
        n: the modulus; every other number x is in its group: 1 < x < n - 1.
        r: the base of each attribute by common name, and that of the link secret.
        digest: names exactly these numbers (SHA-256).
    """

    n: int
    s: int
    z: int
    rctxt: int
    r: Mapping[str, int]
    digest: bytes

    @property
    def attributes(self) -> frozenset[str]:
        """The common names of the attributes that it signs."""
        return frozenset(self.r) - {SECRET_NAME}


def read_public_key(cred_def: Json) -> PublicKey:
    """Read the key of a credential definition.

    Raises:
        InvalidError: it is not a credential definition, has no base for the link secret, or a
            number that is not in its group or not in its canonical spelling.
    """
    try:
        primary = cast("Json", cred_def["value"]["primary"])
        texts: list[object] = [primary[name] for name in ("n", "s", "z", "rctxt")]
        bases: dict[str, object] = dict(primary["r"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError("not a credential definition") from error
    n, *group = map(_number, texts)
    r = {name: _number(bases[name]) for name in sorted(bases)}
    if SECRET_NAME not in r:
        raise InvalidError("the credential definition has no base for the link secret")
    if not all(1 < each < n - 1 for each in (*group, *r.values())):
        raise InvalidError("a number of the credential definition is not in its group")
    s, z, rctxt = group
    written = json.dumps([texts, sorted(bases.items())]).encode()
    return PublicKey(n, s, z, rctxt, r, hashlib.sha256(written).digest())


def _number(value: object) -> int:
    if not isinstance(value, str) or _DIGITS.fullmatch(value) is None:
        raise InvalidError("a number of the credential definition is not written as one")
    return int(value)
