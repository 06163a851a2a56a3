"""resourceVersions: ordered by length and text where well-formed, opaque otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecdc.cluster.versions import before, older


@given(st.integers(1, 2**128), st.integers(1, 2**128))
def test_well_formed_versions_are_ordered_as_numbers_beyond_64_bits(a: int, b: int) -> None:
    assert older(str(a), str(b)) == (a < b)


@pytest.mark.parametrize("opaque", ["", "0", "007", "abc", "12a", "-3", "٣"])
def test_nothing_is_said_of_an_opaque_version(opaque: str) -> None:
    assert not older(opaque, "5")
    assert not older("5", opaque)


def test_before_is_one_below_and_leaves_an_opaque_version_alone() -> None:
    assert before("18446744073709551616") == "18446744073709551615"
    assert before("abc") == "abc"
