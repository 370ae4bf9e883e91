"""The benchmark's hunt: which problems it draws, how they lie in memory, and their names."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the last: `import fastlsm` goes on meaning what it meant

from benchmarks import cases, problem, random_problems, spec


def drawn(count, seed=0, threads=2):
    return list(itertools.islice(random_problems.problems(seed, threads), count))


def test_a_seed_is_a_sequence():
    assert drawn(50, seed=1) == drawn(50, seed=1)
    assert drawn(50, seed=1) != drawn(50, seed=2)


def test_problems_are_what_was_promised():
    many = drawn(3000)
    assert {each.kind for each in many} == set(random_problems.KINDS)
    assert {each.dtype for each in many} == set(cases.DTYPES)
    assert {each.form for each in many} == set(cases.FORMS)
    assert {each.threads for each in many} == {1, 2}
    assert all(each.elements <= 5e7 and 2 <= each.n <= 1e6 for each in many)
    assert min(each.elements for each in many) < 2e3
    assert max(each.elements for each in many) > 4e7


def test_a_name_says_all():
    for one in drawn(300):
        for each in (one, *random_problems.neighbours(one).values()):
            assert spec.parse(each.name) == each


@pytest.mark.parametrize(
    "name", ["float32/dst/3x4/axis2/1", "float32/dst/3x4/axis0", "float32/dst/3x4/axis1/heads/1", "x"]
)
def test_other_names_are_refused(name):
    with pytest.raises(SystemExit, match=name):
        spec.parse(name)


def test_mixed_dtypes():
    cell = next(cell for cell in cases.select(["float32-by-bfloat16/dst/4x8"], mixed=True))
    made = problem.Problem(cell, 1)
    assert [str(array.dtype) for array in (made.diff_dst, made.x, made.out)] == ["float32", "bfloat16", "float32"]
    assert cell.bytes == 32 * (4 + 2 + 4)
    assert not cases.select(["float32-by-bfloat16"])


@pytest.mark.parametrize(
    ("layout", "strides"),
    [
        ("", (60, 20, 5, 1)),
        ("fortran", (1, 2, 6, 24)),
        ("channels-last", (60, 1, 15, 3)),
        ("heads", (60, 5, 15, 1)),
        ("every-second", (120, 40, 10, 2)),
        ("padded7", (144, 48, 12, 1)),
    ],
)
@pytest.mark.parametrize("offset", [0, 3])
def test_layouts(layout, strides, offset):
    parts = ["float32/dst/2x3x4x5/axis1", layout, f"offset{offset}" if offset else "", "1"]
    made = problem.Problem(spec.parse("/".join(filter(None, parts))).cell, 1)
    for view in (made.diff_dst, made.x):
        assert view.shape == (2, 3, 4, 5)
        assert view.strides == tuple(4 * stride for stride in strides)
        assert not offset or view.ctypes.data % 64 == 4 * offset
    assert made.out.shape == made.expected.shape == (2, 3, 4, 5)
    np.testing.assert_allclose(np.exp(made.x).sum(1), 1, rtol=1e-5)


def test_memory_is_aligned_and_offset():
    for shape, offset in ((7, 0), ((2, 3), 0), ((2, 3), 5)):
        array = problem.aligned_empty(shape, np.uint32, offset)
        assert array.shape == np.empty(shape).shape
        assert array.ctypes.data % 64 == 4 * offset


def test_neighbours():
    one = spec.parse("float32/dst/8x300x11x11/axis1/channels-last/offset3/2")
    names = {how: other.name for how, other in random_problems.neighbours(one).items()}
    assert names == {
        "along the contiguous axis": "float32/dst/968x300/axis1/2",
        "one longer": "float32/dst/8x301x11x11/axis1/channels-last/offset3/2",
        "one shorter": "float32/dst/8x299x11x11/axis1/channels-last/offset3/2",
        "aligned": "float32/dst/8x300x11x11/axis1/channels-last/2",
        "on one thread": "float32/dst/8x300x11x11/axis1/channels-last/offset3/1",
    }
    plain = spec.parse("float32/dst/7x2/axis1/1")
    assert set(random_problems.neighbours(plain)) == {"one longer"}
