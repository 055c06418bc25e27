"""The same session signed half by us and half by an implementation in Rust."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from ledger.multisig.frost_parties import SESSION, MemoryVault, verifies

from keep_ledger.multisig.threshold.curve import checked_point, checked_scalar, proven, scalar
from keep_ledger.multisig.threshold.dealer import split_new
from keep_ledger.multisig.threshold.frost import aggregate, commit, sign
from keep_ledger.multisig.threshold.shares import Commitment, Group, Share, SignatureShare

rust: Any = pytest.importorskip(
    "frost_rs", reason="frost-rs is not installed (it is made for Python up to 3.12)"
).utility_ed25519
HEADER = bytes.fromhex("00b169f0da")  # version 0 and the suite's id
MESSAGE = b"one message, two implementations"


def text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode()


def name(identifier: int) -> str:
    return text(scalar(identifier))


def key_package(share: Share) -> str:
    point = share.group.shares[share.identifier]
    body = scalar(share.identifier) + share.secret + point + share.group.key
    return text(HEADER + body + bytes([share.group.threshold]))


def public_package(share: Share) -> str:
    members = b"".join(scalar(i) + point for i, point in share.group.members)
    return text(HEADER + bytes([len(share.group.members)]) + members + share.group.key)


@pytest.mark.parametrize(("threshold", "count"), [(2, 3), (3, 5)])
def test_one_signature_is_made_by_both(threshold: int, count: int) -> None:
    shares = split_new(threshold, range(1, count + 1))
    group = shares[0].group
    ours, theirs = shares[0], shares[1:threshold]
    vault = MemoryVault()
    mine = commit(ours, SESSION, vault)
    nonces: dict[int, str] = {}
    commitments = [mine]
    packages = {name(1): text(HEADER + mine.hiding + mine.binding)}
    for share in theirs:
        nonces[share.identifier], package = rust.preprocess(key_package(share))
        packages[name(share.identifier)] = package
        raw = urlsafe_b64decode(package)
        assert raw.startswith(HEADER)
        commitments.append(
            Commitment(
                group=group.digest,
                session=SESSION,
                identifier=share.identifier,
                hiding=checked_point(raw[5:37]),
                binding=checked_point(raw[37:]),
            )
        )

    first = sign(ours, SESSION, MESSAGE, commitments, vault)
    parts = [first]
    responses = {name(1): text(first.response)}
    for share in theirs:
        i = share.identifier
        response = rust.sign(MESSAGE, packages, nonces[i], key_package(share))
        responses[name(i)] = response
        parts.append(
            SignatureShare(
                session=SESSION,
                identifier=i,
                signed=first.signed,
                response=checked_scalar(urlsafe_b64decode(response)),
            )
        )

    signature = aggregate(group, SESSION, MESSAGE, commitments, parts)
    assert verifies(group, MESSAGE, signature)
    theirs_signature = urlsafe_b64decode(
        rust.aggregate(MESSAGE, packages, responses, public_package(ours))
    )
    assert theirs_signature.endswith(signature)


def test_their_proofs_of_possession_hold_by_our_equation() -> None:
    for identifier in (1, 2):
        _, package = rust.round1(name(identifier), 2, 3)
        raw = urlsafe_b64decode(package)
        key, proof = checked_point(raw[6:38]), raw[-64:]
        witness, answer = checked_point(proof[:32]), checked_scalar(proof[32:])
        assert proven(key, identifier, b"", witness, answer)
        assert not proven(key, identifier + 1, b"", witness, answer)


def test_shares_of_their_key_generation_sign_here() -> None:
    names = [name(i) for i in (1, 2, 3)]
    first = {n: rust.round1(n, 2, 3) for n in names}
    public = {n: pair[1] for n, pair in first.items()}
    second = {
        n: rust.round2(first[n][0], {k: v for k, v in public.items() if k != n}) for n in names
    }
    made = {
        n: rust.round3(
            second[n][0],
            {k: v for k, v in public.items() if k != n},
            {k: v[1][n] for k, v in second.items() if n in v[1]},
        )
        for n in names
    }
    packages = [urlsafe_b64decode(made[n][0]) for n in names]
    group = Group(
        threshold=2,
        key=checked_point(packages[0][101:133]),
        members=tuple((i, checked_point(p[69:101])) for i, p in enumerate(packages, start=1)),
    )
    shares = [
        Share(identifier=i, secret=checked_scalar(p[37:69]), group=group)
        for i, p in enumerate(packages, start=1)
    ]
    vault = MemoryVault()
    commitments = [commit(s, SESSION, vault) for s in shares[1:]]
    parts = [sign(s, SESSION, MESSAGE, commitments, vault) for s in shares[1:]]
    assert verifies(group, MESSAGE, aggregate(group, SESSION, MESSAGE, commitments, parts))
