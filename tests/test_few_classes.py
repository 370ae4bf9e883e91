"""Rows of few classes, which are computed in double and in one pass: the same bits in each layout, nearly exact."""

import ml_dtypes
import numpy as np
import pytest
import reference

import fastlsm
from fastlsm import _runtime

FORMS = {
    "LOG_SOFTMAX": lambda g, x, axis, **kw: fastlsm.log_softmax(x, axis, **kw),
    "BACKWARD_SRC": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, x, axis, **kw),
}
LONGEST = {"LOG_SOFTMAX": 3, "BACKWARD_SRC": 6}
CASES = [(form, n) for form, longest in LONGEST.items() for n in range(2, longest + 1)]
MOST_UNITS = 0.65  # a rounding, and twice the exponential's error of 2^-28
MIXED = [(np.float32, ml_dtypes.bfloat16), (np.float16, np.float32), (ml_dtypes.bfloat16, np.float16)]


def laid(layout, rows):
    """Rows as the layout has them, and the axis along which they lie."""
    count, n = rows.shape
    if layout == "rows":
        return rows, 1
    if layout == "columns":
        return rows.T.copy(), 0
    if layout == "middle axis":
        return rows.reshape(-1, 5, n).swapaxes(1, 2).copy(), 1
    if layout == "long middle axis":  # runs that are tiles of their own
        return rows.reshape(-1, count // 5, n).swapaxes(1, 2).copy(), 1
    if layout == "padded":
        return np.pad(rows, [(0, 0), (0, 7)])[:, :n], 1
    if layout == "every second":
        return np.repeat(rows, 2, axis=1)[:, ::2], 1
    if layout == "every second column":
        return np.repeat(rows.T, 2, axis=1)[:, ::2], 0
    if layout == "backwards":
        return rows[::-1, ::-1].copy()[::-1, ::-1], 1
    assert layout == "fortran"
    return np.asfortranarray(rows), 1


LAYOUTS = [
    "rows", "columns", "middle axis", "long middle axis", "padded", "every second", "every second column", "backwards",
    "fortran",
]  # fmt: skip


def one_by_one(form, g, x):
    return np.concatenate([FORMS[form](g[i : i + 1], x[i : i + 1], 1) for i in range(len(x))])


def bits(a):
    return np.where(np.isnan(a), np.ones((), a.dtype), a).tobytes()


def is_few(form, g, x, out, axis):
    kernels = _runtime.kernels
    return kernels.plan(kernels.FORMS[form], g, x, out, axis)["few"]


def problem(rng, count, n, dtypes):
    g, x = rng.normal(size=(2, count, n)) * [[[1]], [[4]]]
    x[::7, 0] += 30  # sure of a class
    x[::5] = x[::5, :1]  # ties
    return g.astype(dtypes[0]), x.astype(dtypes[1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtypes", [(d, d) for d in reference.DTYPES] + MIXED, ids=str)
@pytest.mark.parametrize(("form", "n"), CASES)
def test_each_layout_has_the_bits_of_single_rows(isa, rng, form, n, dtypes, layout):
    g, x = problem(rng, 35, n, dtypes)
    (g_laid, axis), (x_laid, _) = laid(layout, g), laid(layout, x)
    result = FORMS[form](g_laid, x_laid, axis)
    assert is_few(form, g_laid, x_laid, result, axis) == (np.float64 not in dtypes)
    assert bits(np.moveaxis(result, axis, -1).reshape(-1, n)) == bits(one_by_one(form, g, x))


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 63, 64, 65, 700, 5000])
@pytest.mark.parametrize(("form", "n"), CASES)
def test_any_number_of_rows(isa, rng, form, n, count):
    g, x = problem(rng, count, n, (np.float32, np.float32))
    expected = one_by_one(form, g, x)
    assert bits(FORMS[form](g, x, 1)) == bits(expected)
    assert bits(FORMS[form](g.T.copy(), x.T.copy(), 0).T) == bits(expected)
    for operand in (g, x):  # in place
        over = operand.copy()
        pair = (over, x) if operand is g else (g, over)
        assert bits(FORMS[form](*pair, 1, out=over)) == bits(expected)
        over = operand.T.copy()
        pair = (over, x.T) if operand is g else (g.T, over)
        assert bits(FORMS[form](*pair, 0, out=over).T) == bits(expected)


@pytest.mark.parametrize("dtype", reference.DTYPES[:3], ids=str)
@pytest.mark.parametrize(("form", "n"), CASES)
def test_results_past_the_caches(rng, form, n, dtype):
    count = 9_000_000 // n // np.dtype(dtype).itemsize // 8 * 8
    g, x = rng.normal(size=(2, count, n)).astype(dtype)
    rows = FORMS[form](g, x, 1)
    assert bits(rows[-1000:]) == bits(FORMS[form](g[-1000:], x[-1000:], 1))
    assert bits(FORMS[form](g.T.copy(), x.T.copy(), 0).T) == bits(rows)
    middle = [np.ascontiguousarray(a.reshape(8, -1, n).swapaxes(1, 2)) for a in (g, x)]
    assert bits(FORMS[form](*middle, 1).swapaxes(1, 2)) == bits(rows)
    padded = [np.pad(a, [(0, 0), (0, 3)])[:, :n] for a in (g, x)]
    out = np.full((count, n + 3), 7, dtype)
    assert bits(FORMS[form](*padded, 1, out=out[:, :n])) == bits(rows)
    assert np.all(out[:, n:] == 7)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_little_more_than_half_a_unit(isa, rng, n):
    g, x = problem(rng, 20_000, n, (np.float32, np.float32))
    error = reference.gradient_error(fastlsm.log_softmax_backward(g, x), g, reference.softmax(x))
    assert error.max() <= MOST_UNITS
    if n <= LONGEST["LOG_SOFTMAX"]:
        expected = reference.log_softmax(x)
        assert reference.ulp_error(fastlsm.log_softmax(x), expected, expected) <= MOST_UNITS


@pytest.mark.parametrize(("form", "n"), CASES)
@pytest.mark.parametrize("dtype", reference.DTYPES[:3], ids=str)
def test_special_values(isa, rng, form, n, dtype):
    g, x = problem(rng, 20, n, (dtype, dtype))
    x[1, 0] = -np.inf
    x[2] = -np.inf
    x[3, 1] = np.inf
    x[4, 0] = np.nan
    x[5, -1] = np.nan
    limits = ml_dtypes.finfo(dtype)
    x[6, 0], x[6, 1] = limits.max, limits.min
    g[7, 1] = np.nan
    g[8, 0] = np.inf
    result = FORMS[form](g, x, 1)
    for row in (2, 3, 4, 5):
        assert np.isnan(result[row]).all()
    assert np.isfinite(result[[0, *range(9, 20)]]).all()
    if form == "LOG_SOFTMAX":
        assert result[1, 0] == -np.inf
        assert result[6, 0] == 0
    else:
        assert result[1, 0] == g[1, 0]
        assert np.isnan(result[7]).all()
        assert not np.isfinite(result[8]).any()
    assert bits(result) == bits(one_by_one(form, g, x))


@pytest.mark.parametrize("n", [2, 4, 6])
def test_sums_past_the_range_of_float(isa, n):
    g = np.resize(np.float32([3e38, 3e38, -3e38, -3e38]), (3, n))
    x = np.tile(np.linspace(-2, 1, n, dtype=np.float32), (3, 1))
    expected = reference.backward_src(g, x)
    with np.errstate(over="ignore"):
        rounded = expected.astype(np.float32)
    assert np.array_equal(np.isinf(fastlsm.log_softmax_backward(g, x)), np.isinf(rounded))
    finite = np.isfinite(rounded)
    assert np.allclose(fastlsm.log_softmax_backward(g, x)[finite], rounded[finite], rtol=3e-7)
