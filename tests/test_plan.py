"""The plan: what each walk asks of a problem, over a grid of shapes. tests/plans.py prints the same grid."""

import numpy as np
import pytest
from plans import DTYPES, MOST, plans

import fastlsm
from fastlsm import _caches, _runtime

FLOAT32 = np.dtype(np.float32)
LANES = 16
pytestmark = pytest.mark.thread_unsafe(reason="sets the caches of the process")


@pytest.fixture(scope="module", autouse=True)
def caches():
    """Plans as on a processor with 2 MB of second-level cache."""
    _runtime.kernels.set_caches(**_caches.limits(2 << 20))
    yield
    _runtime.kernels.set_caches(**_caches.limits(_runtime.second_level_cache[0]))


def plan(form, a, axis, *, src=None, out=None, threads=1):
    kernels = _runtime.kernels
    src, out = (a if other is None else other for other in (src, out))
    return kernels.plan(kernels.FORMS[form], a, src, out, axis, threads)


@pytest.fixture(scope="module")
def grid():
    return list(plans())


def test_the_grid_has_every_walk(grid):
    assert {found["walk"] for _, found in grid} >= {"rows", "batches", "columns", "interleaved", "tall"}


def test_each_row_is_counted(grid):
    for (*_, shape, axis, _), found in grid:
        assert found["count"] * shape[axis] == np.prod(shape)


def test_what_goes_together_fits_the_workspace(grid):
    for (_, _, shape, axis, _), found in grid:
        n, together = shape[axis], found["together"]
        elements = 1 << (15 if found["arithmetic"] == "float64" else 16)  # of an operand's half of the stage
        if found["walk"] == "rows":
            assert together == 1
        elif found["walk"] == "batches":
            assert 2 <= together <= 64
            assert together * n <= 8192  # the results
        elif found["walk"] == "flat rows":
            assert together % LANES == 0
            assert n * together <= min(elements, 8192)
        elif found["walk"] == "interleaved":
            assert 2 <= together <= 63
        elif found["walk"] == "tall":
            assert together % LANES == 0
            assert LANES <= together <= (1344 if found["arithmetic"] == "float64" else 2080)
        else:
            assert together % LANES == 0
            assert LANES <= together <= (1344 if found["arithmetic"] == "float64" else 2080)
            # What scratch does not keep whole has its lanes there.
            assert n * together <= elements or together <= (672 if found["arithmetic"] == "float64" else 1344)


def test_the_format_is_the_dtypes(grid):
    for (_, dtype, *_), found in grid:
        assert found["arithmetic"] == ("float64" if dtype == np.float64 else "float32")
        assert found["format"] in (str(dtype), found["arithmetic"])
        if found["walk"] in ("batches", "flat rows"):  # which are computed where they lie
            assert found["format"] == str(dtype)


def test_there_is_a_tile_for_each_thread(grid):
    for (*_, threads), found in grid:
        if found["walk"] == "columns" and found["count"] >= threads * LANES:
            assert found["together"] <= -(-found["count"] // LANES // threads) * LANES + LANES


def test_a_plan_changes_nothing_and_is_the_same_again():
    a = np.random.default_rng(3).normal(size=(40, 70)).astype(np.float32)
    before = a.copy()
    assert plan("BACKWARD_SRC", a, 0) == plan("BACKWARD_SRC", a, 0)
    assert np.array_equal(a, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", _runtime.kernels.FORMS)
def test_the_axis_decides_between_rows_and_columns(form, dtype):
    a = np.empty((1000, 1000), dtype)
    assert plan(form, a, 1)["walk"] == "batches"
    assert plan(form, a, 0)["walk"] in ("columns", "tall")
    assert plan(form, np.asfortranarray(a), 1)["walk"] in ("columns", "tall")
    assert plan(form, a[:, ::2], 1)["walk"] == "rows"  # nothing lies as the loops want it
    assert plan(form, a[:, :3], 0)["walk"] == "rows"  # columns are vectors of neighbours: three fill none
    assert plan(form, np.empty((4, MOST // 4), dtype), 1)["walk"] == "rows"


def walk_of(form, shape, dtype=np.float32):
    return plan(form, np.empty(shape, dtype), 0)["walk"]


def test_long_columns_are_tall():
    assert [walk_of("BACKWARD_DST", (n, 1000)) for n in (95, 96)] == ["columns", "tall"]
    assert [walk_of("BACKWARD_DST", (200, inner)) for inner in (160, 180)] == ["columns", "tall"]
    assert [walk_of("LOG_SOFTMAX", (n, 1000)) for n in (511, 512)] == ["columns", "tall"]
    # The src form keeps exp in scratch, where it can.
    assert [walk_of("BACKWARD_SRC", (n, 1000)) for n in (1024, 1025)] == ["columns", "tall"]
    assert [walk_of("BACKWARD_SRC", (n, 1000), np.float64) for n in (512, 513)] == ["columns", "tall"]
    assert [walk_of("BACKWARD_SRC", (n, 9000)) for n in (511, 512)] == ["columns", "tall"]  # 16 MiB


@pytest.mark.parametrize("form", _runtime.kernels.FORMS)
def test_tall_columns_are_neighbours_and_many(form):
    a = np.empty((3000, 1000), np.float32)
    assert plan(form, a, 0)["walk"] == plan(form, a.T, 1)["walk"] == "tall"
    assert plan(form, a[:, ::2], 0)["walk"] == "columns"
    assert plan(form, np.empty((30_000, 15), np.float32)[:, :6], 0)["walk"] == "tall"
    assert plan(form, np.empty((30_000, 15), np.float32)[:, :5], 0)["walk"] == "rows"
    assert plan(form, a, 1)["walk"] != "tall"


def test_mixed_dtypes_go_through_the_arithmetics_type():
    a = np.empty((64, 100), np.float16)
    assert plan("BACKWARD_DST", a, 1)["format"] == "float16"
    assert plan("BACKWARD_DST", a, 1, src=np.empty((64, 100), np.float32))["format"] == "float32"
    assert plan("BACKWARD_DST", a, 1, out=np.empty((64, 100), np.float64))["format"] == "float64"


def test_what_is_far_is_asked_for_ahead():
    assert not plan("BACKWARD_DST", np.empty((100, 1000), np.float32), 1)["ahead"]
    assert plan("BACKWARD_DST", np.empty((1000, 1000), np.float32), 1)["ahead"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", _runtime.kernels.FORMS)
def test_short_rows_are_flat_where_to_pack_them_is_worth_it(form, dtype):
    if plan(form, np.empty((2000, 5), dtype), 1)["walk"] != "flat rows":
        pytest.skip("an instruction set without flat rows")

    def is_flat(n, g=1, x=1, out=1):
        """Rows of n elements, each in so many places."""
        g, x, out = (np.empty((2000, n, gaps), dtype).reshape(2000, -1)[:, :n] for gaps in (g, x, out))
        return plan(form, g, 1, src=g if form == "LOG_SOFTMAX" else x, out=out)["walk"] == "flat rows"

    narrow = dtype.itemsize == 2
    longest = 15 if form == "BACKWARD_DST" else 20
    for gaps in ({}, {"g": 2}, {"out": 2}, {"g": 2, "x": 3, "out": 4}):
        assert all(is_flat(n, **gaps) for n in (1, 2, 3))
        assert not is_flat(48, **gaps)
    for n in (4, 15, 20):
        assert is_flat(n)
        if narrow and n > longest:
            continue  # rows that a vector nearly fills: decided by the instruction set
        assert is_flat(n, 2, 2, 2) == narrow  # others are turned to columns where they lie
        assert is_flat(n, out=2) == (narrow or (form != "BACKWARD_SRC" and n <= 20))
        if form == "BACKWARD_DST":
            assert is_flat(n, x=2) == (narrow or n <= 20)
            assert is_flat(n, g=2, x=2) == narrow
    a = np.empty((2000, 2, 5), dtype)
    assert plan(form, a[:, 0], 1)["walk"] == plan(form, a[::-1, 1], 1)["walk"]
    assert plan(form, a[:, :, ::2], 2)["walk"] != "flat rows"  # no two elements are adjacent


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", _runtime.kernels.FORMS)
def test_large_results_go_past_the_caches_in_long_runs(form, dtype):
    def streamed(shape, part, axis=-1):
        return plan(form, np.empty(shape, dtype)[part], axis)["streamed"]

    size = dtype.itemsize
    assert not streamed((1000, 1000), ...)
    for n in (7, 100, 4000):
        assert streamed((2 * MOST // n, n), ...)  # adjacent rows are one run
    for n in (7, 100, 4096 // size - 1):
        assert not streamed((2 * MOST // n, n + 1), np.s_[:, :n])
    assert streamed((8192, 4096 // size + 1), np.s_[:, 1:])
    assert streamed((60, 100, 6000), ..., 1)
    assert streamed((60_000, 20, 512 // size), ..., 1)
    assert not streamed((60_000, 20, 512 // size - 1), ..., 1)


def test_arrays_that_are_no_problem_are_refused():
    a = np.empty((3, 4), np.float32)
    with pytest.raises(TypeError, match="normal form"):
        plan("LOG_SOFTMAX", np.empty((3, 4), np.int8), 1)
    with pytest.raises(ValueError, match="one shape"):
        plan("LOG_SOFTMAX", a, 1, src=np.empty((4, 3), np.float32))
    with pytest.raises(np.exceptions.AxisError):
        plan("LOG_SOFTMAX", a, 2)
    assert fastlsm.log_softmax(np.zeros((3, 4), np.float32)).shape == a.shape  # nothing is held
