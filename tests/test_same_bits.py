"""Contract, One row, one answer: the bits are the same on x86-64-v3, x86-64-v4 and arm64."""

from pathlib import Path

import bits
import pytest


def test_the_bits_are_the_recorded_ones(isa):
    if isa not in bits.LEVELS:
        pytest.skip(f"the {isa} kernels may round otherwise")
    with Path(__file__).with_name("bits.txt").open() as lines:
        recorded = bits.read(lines)
    found = bits.hashes()
    assert found.keys() == recorded.keys()
    assert [case for case in found if found[case] != recorded[case]] == []
