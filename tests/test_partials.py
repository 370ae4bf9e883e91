"""fastlsm.partials: rows in chunks have the results of whole rows, within the same bounds."""

import conftest
import numpy as np
import pytest
import reference
from processes import check
from reference import BOUND, DTYPES
from test_sure_rows import GRADIENTS, huge_sums, sure_rows

import fastlsm
from fastlsm import partials

FORMS = ["forward", "src", "dst"]


def split(a, cuts, axis=-1):
    return np.split(a, cuts, axis=axis)


def totals_of(form, g, x, cuts, axis=-1, **options):
    """The totals of rows that are cut at the places `cuts`."""
    chunks = zip(split(g, cuts, axis), split(x, cuts, axis), strict=True)
    if form == "forward":
        reduced = [partials.reduce_chunk(x, axis, **options) for _, x in chunks]
    elif form == "src":
        reduced = [partials.reduce_chunk(x, axis, diff_dst=g, **options) for g, x in chunks]
    else:
        reduced = [partials.reduce_chunk(None, axis, diff_dst=g, **options) for g, _ in chunks]
    return partials.combine(np.concatenate(reduced, axis), axis)


def finish(form, g, x, axis=-1, **options):
    if form == "forward":
        return partials.log_softmax(x, axis, **options)
    return partials.log_softmax_backward(g, axis=axis, **{form: x}, **options)


def in_chunks(form, g, x, cuts, axis=-1, **options):
    totals = totals_of(form, g, x, cuts, axis, **options)
    chunks = zip(split(g, cuts, axis), split(x, cuts, axis), strict=True)
    return np.concatenate([finish(form, g, x, axis, totals=totals, **options) for g, x in chunks], axis)


def whole(form, g, x, axis=-1, **options):
    if form == "forward":
        return fastlsm.log_softmax(x, axis, **options)
    return fastlsm.log_softmax_backward(g, axis=axis, **{form: x}, **options)


def error_of(form, result, g, x):
    """The largest error in the units of the contract."""
    if form == "forward":
        expected = reference.log_softmax(x)
        return reference.ulp_error(result, expected, expected)
    return reference.gradient_error(result, g, (reference.softmax if form == "src" else reference.exp)(x)).max()


def operands(form, g, src, dtype):
    return g.astype(dtype), (reference.log_softmax(src) if form == "dst" else src).astype(dtype)


def bits(a):
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}")


# ------------------------------------------------------------------------------------------------- accuracy


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("gradient", GRADIENTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_each_element_is_right(rng, form, dtype, gradient):
    """Sure rows too: in units of the result itself where the gradient is cross-entropy's."""
    for n, cuts in [(2, [1]), (3, [1, 2]), (10, [0, 4, 4, 9]), (100, range(1, 100)), (1000, [1, 500, 700])]:
        src, top = sure_rows(rng, n, 70)
        g, x = operands(form, gradient(rng, top, n), src, dtype)
        assert error_of(form, in_chunks(form, g, x, cuts), g, x) <= BOUND[dtype]


@pytest.mark.parametrize("far", [0, 3e4, -3e4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_long_rows(rng, form, dtype, far):
    """Chunks of several parts, of one and of a few elements; logits far from 0; wide ones."""
    g, src = rng.normal(size=(2, 70_000)), rng.uniform(-50, 50, (2, 70_000)) + far
    g, x = operands(form, g, src, dtype)
    assert error_of(form, in_chunks(form, g, x, [3, 20_000, 69_999]), g, x) <= BOUND[dtype]


@pytest.mark.parametrize("form", FORMS)
def test_float64_beside_60_digits(rng, form):
    for n, cuts in [(2, [1]), (7, [2, 5]), (60, range(1, 60))]:
        src, top = sure_rows(rng, n, 7)
        for gradient in GRADIENTS[::2]:
            g, x = operands(form, gradient(rng, top, n), src, np.dtype(np.float64))
            for result, row, g_row in zip(in_chunks(form, g, x, cuts), x, g, strict=True):
                if form == "forward":
                    expected = at = reference.exact_row(row)
                else:
                    expected, at = reference.exact_row(row, g_row, normalise=form == "src")
                assert reference.exact_ulp_error(result, expected, at) <= 2


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
def test_constant_gradients_of_nearly_equal_classes(rng, dtype):
    """test_sure_rows.py has the reason."""
    for n in (2, 5, 8, 17, 20, 31):
        src = (0.05 * rng.normal(size=(4000, n))).astype(dtype)
        g = np.broadcast_to(1 + rng.uniform(0, 1 / n, (4000, 1)), src.shape).astype(dtype)
        assert error_of("src", in_chunks("src", g, src, [n // 2]), g, src) <= BOUND[dtype]


@pytest.mark.parametrize("second", DTYPES, ids=str)
@pytest.mark.parametrize("first", DTYPES, ids=str)
def test_mixed_dtypes(rng, first, second):
    src, _ = sure_rows(rng, 30, 70)
    g = rng.normal(size=(70, 30)).astype(first)
    for form in FORMS[1:]:
        x = operands(form, g, src, second)[1]
        for dtype in DTYPES:
            result = in_chunks(form, g, x, [3, 20], dtype=dtype)
            assert result.dtype == dtype
            assert error_of(form, result, g, x) <= BOUND[dtype]


@pytest.mark.parametrize("form", FORMS)
def test_a_float64_result_of_float32(rng, form):
    g, x = operands(form, rng.normal(size=(20, 300)), rng.normal(size=(20, 300)), np.dtype(np.float32))
    result = in_chunks(form, g, x, [100], dtype=np.float64)
    assert result.dtype == np.float64
    assert np.allclose(result, whole(form, g, x, dtype=np.float64), rtol=1e-13, atol=1e-15)


# ------------------------------------------------------------------------------------------------- combination


def combined_at_random(rng, pieces):
    """Pieces combined in a random tree."""
    pieces = list(pieces)
    while len(pieces) > 1:
        chosen = [pieces.pop(rng.integers(len(pieces))) for _ in range(min(len(pieces), rng.integers(2, 5)))]
        pieces.append(partials.combine(np.concatenate(chosen, -1)))
    return pieces[0]


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_any_tree_does(rng, form, dtype):
    """A thousand chunks of one element each, the maximum rising from one to the next and falling."""
    ramp = np.concatenate([np.linspace(-30, 20, 600), np.linspace(20, -9, 400)])
    src = ramp + 0.01 * rng.normal(size=(4, 1000))
    g, x = operands(form, rng.normal(size=src.shape), src, dtype)
    pieces = [totals_of(form, g[:, i : i + 1], x[:, i : i + 1], []) for i in range(1000)]
    for _ in range(3):
        result = finish(form, g, x, totals=combined_at_random(rng, pieces))
        assert error_of(form, result, g, x) <= BOUND[dtype]


def test_what_partials_hold(rng):
    src, g = 3 * rng.normal(size=(5, 40)), rng.normal(size=(5, 40))
    src[:, 7] = src[:, 9] = src.max(1) + 1
    got = partials.reduce_chunk(src, diff_dst=g)
    assert got.shape == (5, 1)
    assert np.array_equal(got["max"], src.max(1, keepdims=True))
    assert np.all(got["ties"] == 2)
    below = np.where(src == got["max"], -np.inf, src)
    assert np.allclose(got["others"] + got["others_low"], np.exp(below - got["max"]).sum(1, keepdims=True), rtol=1e-15)
    assert np.allclose(got["sum"] + got["sum_low"], g.sum(1, keepdims=True), rtol=1e-14)
    only_src, only_g = partials.reduce_chunk(src), partials.reduce_chunk(diff_dst=g)
    assert np.all(only_src["sum"] == 0)
    assert np.all(only_g["max"] == -np.inf)
    assert np.array_equal(only_src["others"], got["others"])
    assert np.array_equal(only_g["sum"], got["sum"])


def test_nothing_seen_changes_nothing(rng):
    src, g = rng.normal(size=(5, 40)), rng.normal(size=(5, 40))
    some, none = partials.reduce_chunk(src, diff_dst=g), partials.reduce_chunk(src[:, :0], diff_dst=g[:, :0])
    assert np.array_equal(partials.combine(np.concatenate([none, some, none], -1)), some)
    assert np.array_equal(partials.combine(some[:, :0]), none)


# ------------------------------------------------------------------------------------------------- special values


def rows_of_special_values():
    inf, nan = np.inf, np.nan
    return np.array(
        [
            [-inf, -inf, 1, 2, -inf, 0],
            [-inf] * 6,
            [-inf, -inf, -inf, -inf, 3, -inf],
            [0, inf, 1, 2, 3, 4],
            [inf, inf, inf, 2, 3, 4],
            [nan, 0, 1, 2, 3, 4],
            [nan] * 6,
            [-inf, -inf, nan, -inf, 5, 6],
            [inf, 1, 1, nan, 1, -inf],
            [0, 1, 2, 3, 4, 5],
            [1e4, -1e4, 1e4, 0, -6e4, 6e4],
            [0, 0, 0, 0, 0, 0],
        ]
    )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("cuts", [[2], [2, 4], [1, 1, 2, 3, 4, 5]], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_special_values(rng, form, dtype, cuts):
    """-inf, NaN, inf and chunks of nothing else do what they do in a whole row."""
    x = rows_of_special_values().astype(dtype)
    for special in (None, np.nan, np.inf, -np.inf):
        g = rng.normal(size=x.shape).astype(dtype)
        if special is not None:
            g[:, 3] = special
        expected, result = (f(form, g, x).astype(float) for f in (whole, lambda *a: in_chunks(*a, cuts)))
        exact = ~np.isfinite(expected) | (expected == g.astype(float))
        assert np.array_equal(result[exact], expected[exact], equal_nan=True)
        if form == "dst":  # exp(dst) is not normalised: inf is a softmax of inf
            expected, result = (np.where(np.isinf(a), 0, a) for a in (expected, result))
        assert np.allclose(result, expected, rtol=1e-2 if dtype.itemsize == 2 else 1e-5, equal_nan=True)


@pytest.mark.parametrize("row", huge_sums(), ids=str)
@pytest.mark.parametrize("form", FORMS[1:])
def test_sums_of_float64_that_overflow_on_the_way(rng, form, row):
    """In a chunk, or only where chunks are combined; the row's sum is finite."""
    row = np.array(huge_sums()[row])
    g = np.stack([row, -row, *(rng.permutation(row) for _ in range(6)), rng.normal(size=row.shape)])
    x = np.asarray(reference.log_softmax(rng.normal(size=g.shape)), float)
    mass = (reference.softmax if form == "src" else reference.exp)(x)
    expected, at = reference.backward_from_softmax(g, mass), reference.largest(g, mass)
    fits = np.abs(expected) < np.finfo(float).max
    for cuts in ([1], [2], [len(row) // 2], range(1, min(len(row), 80))):
        result = in_chunks(form, g, x, cuts)
        over_columns = in_chunks(form, np.repeat(g, 3, axis=0).T.copy(), np.repeat(x, 3, axis=0).T.copy(), cuts, axis=0)
        assert np.array_equal(over_columns[:, ::3].T, result, equal_nan=True)
        assert reference.ulp_error(result[fits], expected[fits], at[fits]) <= 2


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_sum_past_float64(form):
    """IEEE: infinite, as in a whole row."""
    g, x = np.full((1, 6), 1.7e308), np.full((1, 6), -1.0)
    assert np.array_equal(in_chunks(form, g, x, [2, 4]), whole(form, g, x))
    g[0, 5] = -np.inf
    assert np.array_equal(in_chunks(form, g, x, [2, 4]), whole(form, g, x), equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_of_one_element(dtype):
    one = np.full((3, 1), 2.3, dtype)
    assert np.all(in_chunks("forward", one, one, [0, 1]) == 0)
    assert np.all(in_chunks("src", one, one, [0, 1]) == 0)


# ------------------------------------------------------------------------------------------------- bits and layouts


@pytest.mark.usefixtures("isa")
def test_partials_of_rows_that_an_order_of_elements_decides():
    """A maximum of 0 and -0, and a sum that overflows in one order and not in another: the same in every layout."""
    big = 1.4e308
    for row in ([0.0, -0.0], [-0.0, 0.0], [big, -big, big], [big, big, -big, 1e-300, -big, big], [big, big]):
        batch = np.tile(row, (33, 1))
        found = [partials.reduce_chunk(a, diff_dst=a) for a in (batch[:1], batch, np.asfortranarray(batch))]
        assert len({each[i, 0].tobytes() for each in found for i in range(len(each))}) == 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_every_level_and_number_of_threads_has_the_same_bits(rng, form, dtype, monkeypatch):
    g, x = operands(form, rng.normal(size=(3, 90_000)), 2 * rng.normal(size=(3, 90_000)), dtype)
    results = []
    for level in conftest.LEVELS:
        if level != "baseline" or len(conftest.LEVELS) == 1:
            monkeypatch.setattr(partials, "kernels", conftest.kernels_of(level))
            results += [in_chunks(form, g, x, [100, 50_000], num_threads=threads) for threads in (1, 2)]
    assert all(np.array_equal(bits(results[0]), bits(r)) for r in results)


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [0, 1, 2, -3, (0, 2), (2, 1), None])
@pytest.mark.parametrize("form", FORMS)
def test_layouts_and_axes(rng, form, axis, layout):
    g, x = rng.normal(size=(5, 6, 70)), rng.normal(size=(5, 6, 70))
    axes = (0, 1, 2) if axis is None else axis if isinstance(axis, tuple) else (axis % 3,)
    cut_axis = max(axes)
    expected = whole(form, g, x, axis)
    got = [LAYOUTS[layout](a) for a in (g, x)]
    cuts = [2, 3]
    pieces = list(zip(split(got[0], cuts, cut_axis), split(got[1], cuts, cut_axis), strict=True))
    reduced = [partials.reduce_chunk(x if form != "dst" else None, axis, diff_dst=g) for g, x in pieces]
    totals = partials.combine(np.concatenate(reduced, cut_axis), axis)
    assert totals.shape == tuple(1 if d in axes else extent for d, extent in enumerate(x.shape))
    result = np.concatenate([finish(form, g, x, axis, totals=totals) for g, x in pieces], cut_axis)
    assert np.allclose(result, expected, rtol=1e-14, atol=1e-15)


# Shapes and axes: columns of one part and of several, few and many, in one run and in several; short rows.
TURNED = [
    ((300, 700), 0),
    ((20_000, 40), 0),
    ((40_000, 20), 0),
    ((3, 50, 9, 31), 1),
    ((4, 5, 600, 3), 2),
    ((900, 20), 1),
]
ORDERS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "permuted": lambda a: a.transpose(*range(1, a.ndim), 0).copy().transpose(a.ndim - 1, *range(a.ndim - 1)),
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "turned round": lambda a: a[::-1].copy()[::-1],
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("shape", "axis"), TURNED, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_layout_has_the_same_bits(rng, dtype, shape, axis, order):
    """Those of rows that lie one after the other; of partials, too. In place, too."""
    g, x = rng.normal(size=shape).astype(dtype), (3 * rng.normal(size=shape) - 2).astype(dtype)
    x[0], g[(0,) * len(shape)] = -np.inf, np.inf
    in_order = [ORDERS[order](a) for a in (g, x)]
    as_rows = [np.ascontiguousarray(np.moveaxis(a, axis, -1)) for a in (g, x)]
    totals = partials.reduce_chunk(in_order[1], axis, diff_dst=in_order[0])
    expected = partials.reduce_chunk(as_rows[1], diff_dst=as_rows[0])
    for field in partials.PARTIAL.names:
        assert np.array_equal(np.moveaxis(totals[field], axis, -1), expected[field], equal_nan=True)
    for form in FORMS:
        result = finish(form, *in_order, axis, totals=totals)
        assert np.array_equal(np.moveaxis(result, axis, -1), finish(form, *as_rows, totals=expected), equal_nan=True)
        result_in_place = ORDERS[order](x.copy())
        finish(form, in_order[0], result_in_place, axis, totals=totals, out=result_in_place)
        assert np.array_equal(result_in_place, result, equal_nan=True)


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
def test_columns_on_threads(rng, dtype):
    g, x = rng.normal(size=(20_000, 60)).astype(dtype), rng.normal(size=(20_000, 60)).astype(dtype)
    for form in FORMS:
        one, two = (in_chunks(form, g, x, [100, 17_000], axis=0, num_threads=threads) for threads in (1, 2))
        assert np.array_equal(bits(one), bits(two))
        assert error_of(form, np.ascontiguousarray(one.T), g.T, x.T) <= BOUND[dtype]


@pytest.mark.parametrize("axis", [0, 1, (0, 1), None])
@pytest.mark.parametrize("form", FORMS)
def test_out(rng, form, axis):
    g, x = rng.normal(size=(20, 30)), rng.normal(size=(20, 30))
    totals = partials.reduce_chunk(x if form != "dst" else None, axis, diff_dst=g)
    expected = finish(form, g, x, axis, totals=totals)
    for out in (np.empty((20, 30)), np.empty((30, 20)).T, np.empty((40, 60))[::2, ::-2], x.copy()):
        operand = out if out.base is None and out.flags.c_contiguous and np.array_equal(out, x) else x
        assert finish(form, g, operand, axis, totals=totals, out=out) is out
        assert np.array_equal(bits(out), bits(expected))
    swapped = np.empty((20, 30), ">f8")
    assert np.array_equal(finish(form, g, x, axis, totals=totals, out=swapped), expected)
    memory = np.empty(20 * 30 + 7)
    overlapping, out = memory[:600].reshape(20, 30), memory[7:].reshape(20, 30)
    overlapping[:] = x
    assert np.array_equal(finish(form, g, overlapping, axis, totals=totals, out=out), expected)


def test_inputs_are_not_modified(rng):
    g, x = rng.normal(size=(20, 300)), rng.normal(size=(20, 300))
    before = g.copy(), x.copy()
    for form in FORMS:
        in_chunks(form, g, x, [100])
    assert np.array_equal(g, before[0])
    assert np.array_equal(x, before[1])


def test_arrays_without_elements():
    for shape in ((0, 5), (5, 0), (0, 0)):
        empty = np.empty(shape, np.float32)
        for form in FORMS:
            result = in_chunks(form, empty, empty, [0])
            assert result.shape == shape
            assert result.dtype == np.float32


# ------------------------------------------------------------------------------------------------- errors

X = np.zeros((2, 3))
T = np.zeros((2, 1), partials.PARTIAL)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: partials.reduce_chunk(), TypeError, "at least one of 'src' and 'diff_dst'"),
        (lambda: partials.reduce_chunk(X.astype(complex)), TypeError, "src has dtype complex128; supported are"),
        (lambda: partials.reduce_chunk(X, diff_dst=X[:1]), ValueError, r"diff_dst and src must have the same shape"),
        (lambda: partials.reduce_chunk(X, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda: partials.reduce_chunk(X, (0, -2)), ValueError, "duplicate value in 'axis'"),
        (lambda: partials.reduce_chunk(X, num_threads=0), ValueError, "num_threads must be at least 1"),
        (lambda: partials.reduce_chunk(X, dtype="int8"), TypeError, "dtype is int8; supported are"),
        (lambda: partials.combine(X), TypeError, "partials must be an array of fastlsm.partials.PARTIAL; got dtype"),
        (lambda: partials.combine([T]), TypeError, "partials must be an array of .*PARTIAL; got list"),
        (lambda: partials.combine(T, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda: partials.log_softmax(X, totals=X), TypeError, "totals must be an array of"),
        (lambda: partials.log_softmax(X, 0, totals=T), ValueError, r"but 1 along the axis: \(1, 3\); got \(2, 1\)"),
        (lambda: partials.log_softmax(X, totals=T, out=X[:1]), ValueError, "out: non-broadcastable output operand"),
        (lambda: partials.log_softmax(X, totals=T, out=[1]), TypeError, "out must be a NumPy array; got list"),
        (lambda: partials.log_softmax(X, totals=T, out=np.broadcast_to(X, X.shape)), ValueError, "out.* read-only"),
        (lambda: partials.log_softmax(X, totals=T, out=X.astype(int)), TypeError, "out has dtype int64"),
        (lambda: partials.log_softmax(X, totals=T, out=X.copy(), dtype="i4"), TypeError, "dtype is int32"),
        (lambda: partials.log_softmax(X, totals=T, out=X.copy(), dtype="no"), TypeError, "dtype: data type 'no'"),
        (lambda: partials.log_softmax_backward(X, totals=T), TypeError, "exactly one of 'src' .* neither given"),
        (lambda: partials.log_softmax_backward(X, X, dst=X, totals=T), TypeError, "exactly one of 'src' .* both given"),
        (lambda: partials.log_softmax_backward(X, X[0], totals=T), ValueError, "must have the same shape"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ------------------------------------------------------------------------------------------------- long calls

LONG_CALL = """
import signal
import numpy as np
from fastlsm import partials


def interrupt(*_):
    raise KeyboardInterrupt


x = np.broadcast_to(np.float32(1), (64, 1 << 34))  # an hour
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    partials.reduce_chunk(x)
except KeyboardInterrupt:
    print("ended")
"""


@pytest.mark.thread_unsafe(reason="starts a process")
def test_a_signal_ends_a_long_call():
    assert check(LONG_CALL, timeout=100).strip() == "ended"
