from __future__ import annotations

import copy
from typing import Any

import pytest
from fake_network import RECORDED, path, recorded, tree
from hypothesis import given
from hypothesis import strategies as st

from keep_network.web import merkle

LEDGERS = [(name, txn) for name, found in RECORDED["ledgers"].items() for txn in found]


@pytest.mark.parametrize("size", [*range(1, 34), 100])
def test_every_leaf_of_a_tree_climbs_to_its_root_and_to_no_other_place(size: int) -> None:
    leaves = [bytes([n]) * 32 for n in range(size)]
    for index, leaf in enumerate(leaves):
        hashes = path(index, leaves)
        assert merkle.root(leaf, index, size, hashes) == tree(leaves)
        for wrong in {0, size - 1, index + 1, -1} - {index}:
            assert merkle.root(leaf, wrong, size, hashes) != tree(leaves)
        assert merkle.root(leaf, index, size, [*hashes, b"x" * 32]) is None


@pytest.mark.parametrize(("name", "txn"), LEDGERS)
def test_the_paths_of_a_real_pool_fit(name: str, txn: dict[str, Any]) -> None:
    assert merkle.fits(txn), (name, txn["txnMetadata"])


def test_a_changed_word_breaks_the_path() -> None:
    txn = recorded("domain", 28)
    txn["txn"]["data"]["data"]["name"] = "Transcripts"
    assert not merkle.fits(txn)


def test_an_attribute_fits_with_its_value_and_with_its_hash() -> None:
    txn = recorded("domain", 27)
    assert "https://faber.example" in txn["txn"]["data"]["raw"]
    hashed = copy.deepcopy(txn) | {"txn": merkle.without_values(txn["txn"])}
    assert merkle.fits(hashed)
    hashed["txn"]["data"]["raw"] = "0" * 64
    assert not merkle.fits(hashed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "auditPath": st.lists(st.text()) | JSON,
            "rootHash": st.text() | JSON,
            "ledgerSize": JSON,
            "txnMetadata": st.fixed_dictionaries({"seqNo": JSON}) | JSON,
            "txn": JSON,
        },
    )
)
def test_nonsense_never_fits_and_never_raises(txn: dict[str, Any]) -> None:
    assert merkle.fits(txn) is False
