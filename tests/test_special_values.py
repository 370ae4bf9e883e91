"""Contract, Special values: the table, on every layout, dtype and instruction set."""

import numpy as np
import pytest
import reference
from reference import DTYPES, bfloat16

import fastlsm

pytestmark = pytest.mark.usefixtures("isa")

INF, NAN = np.inf, np.nan

# The row lies between two ordinary ones, which must not notice. 3 elements go the columns' way, 300 the rows'.
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
lengths = pytest.mark.parametrize("n", [3, 100, 5000])
layouts = pytest.mark.parametrize("layout", ["rows", "columns"])


def among_others(row, n, dtype, layout, seed):
    """`row` (filled up to n with ordinary numbers) among 20 ordinary rows, along axis 1 or 0."""
    x = np.random.default_rng(seed).normal(size=(21, n)).astype(dtype)
    x[7, : len(row)] = row
    return x if layout == "rows" else np.asfortranarray(x)


def check(result, expected, x_like):
    assert result.dtype == x_like.dtype
    assert np.array_equal(result[7].astype(float), expected, equal_nan=True)
    assert np.isfinite(np.delete(result, 7, axis=0).astype(float)).all()


@dtypes
@lengths
@layouts
class TestLogSoftmaxAndSrcForm:
    def both(self, row, n, dtype, layout):
        src = among_others(row, n, dtype, layout, 1)
        g = among_others([], n, dtype, layout, 2)
        return src, g, fastlsm.log_softmax(src), fastlsm.log_softmax_backward(g, src)

    def test_minus_infinity_in_some_places(self, n, dtype, layout):
        src, g, forward, backward = self.both([-INF, 1.0, -INF], n, dtype, layout)
        assert np.array_equal(forward[7, [0, 2]].astype(float), [-INF, -INF])
        assert np.isfinite(forward[7, 1])
        assert np.array_equal(backward[7, [0, 2]], g[7, [0, 2]])
        assert np.isfinite(backward.astype(float)).all()
        expected = reference.backward_src(g[7:8], src[7:8])
        at = reference.largest(g[7:8], reference.softmax(src[7:8]))
        assert reference.ulp_error(backward[7:8], expected, at) <= 2

    @pytest.mark.parametrize("row", [[INF], [NAN], [INF, -INF], [-INF, NAN, INF], [0, 0, NAN]], ids=str)
    def test_infinity_or_nan_makes_the_row_nan(self, n, dtype, layout, row):
        src, g, forward, backward = self.both(row, n, dtype, layout)
        check(forward, np.full(n, NAN), src)
        check(backward, np.full(n, NAN), g)

    def test_nothing_but_minus_infinity_makes_the_row_nan(self, n, dtype, layout):
        src, g, forward, backward = self.both([-INF] * n, n, dtype, layout)
        check(forward, np.full(n, NAN), src)
        check(backward, np.full(n, NAN), g)

    def test_logits_as_large_as_the_dtype_holds(self, n, dtype, layout):
        largest = float(np.finfo(dtype).max) if dtype != bfloat16 else 3.3895314e38
        row = [largest, -largest, largest] + [-largest] * (n - 3)
        src, g, forward, backward = self.both(row, n, dtype, layout)
        log_half = np.log(0.5).astype(dtype)
        assert np.array_equal(forward[7, [0, 2]], np.array([log_half, log_half], dtype))
        assert forward[7, 1].astype(float) <= -largest
        assert np.isfinite(np.delete(forward, 7, 0).astype(float)).all()
        expected = reference.backward_src(g[7:8], src[7:8])
        at = reference.largest(g[7:8], reference.softmax(src[7:8]))
        assert reference.ulp_error(backward[7:8], expected, at) <= 2


@dtypes
@lengths
@layouts
class TestDstForm:
    def test_dst_minus_infinity_gives_diff_dst(self, n, dtype, layout):
        dst = among_others([-INF] * n, n, dtype, layout, 1)
        g = among_others([], n, dtype, layout, 2)
        result = fastlsm.log_softmax_backward(g, dst=dst)
        assert np.array_equal(result[7], g[7])

    def test_nan_in_dst_stays_in_its_place(self, n, dtype, layout):
        dst = among_others([-1, NAN, -2], n, dtype, layout, 1)
        g = among_others([], n, dtype, layout, 2)
        result = fastlsm.log_softmax_backward(g, dst=dst)
        assert np.array_equal(np.flatnonzero(np.isnan(result)), [7 * n + 1])

    def test_nan_in_diff_dst_makes_the_row_nan(self, n, dtype, layout):
        x = among_others([], n, dtype, layout, 1)
        g = among_others([1, NAN], n, dtype, layout, 2)
        check(fastlsm.log_softmax_backward(g, dst=x), np.full(n, NAN), g)
        check(fastlsm.log_softmax_backward(g, x), np.full(n, NAN), g)

    @pytest.mark.parametrize("row", [[INF], [-INF], [INF, -INF], [INF, INF]], ids=str)
    def test_infinity_in_diff_dst_is_ieee(self, n, dtype, layout, row):
        x = among_others([-1, -2, -INF], n, dtype, layout, 1)
        g = among_others(row, n, dtype, layout, 2)
        y = reference.softmax(x[7:8])
        check(fastlsm.log_softmax_backward(g, x), reference.backward_from_softmax(g[7:8], y)[0].astype(float), g)
        y = reference.exp(x[7:8])
        check(fastlsm.log_softmax_backward(g, dst=x), reference.backward_from_softmax(g[7:8], y)[0].astype(float), g)

    def test_exp_of_large_dst_overflows_to_infinity(self, n, dtype, layout):
        largest = 710 if dtype == np.float64 else 89
        dst = among_others([largest, INF, -1], n, dtype, layout, 1)
        g = among_others([1.0, 2.0, 3.0] + [0.0] * (n - 3), n, dtype, layout, 2)
        result = fastlsm.log_softmax_backward(g, dst=dst)[7, :3].astype(float)
        assert np.array_equal(result[:2], [-INF, -INF])
        assert np.isfinite(result[2])


@dtypes
def test_dst_up_to_where_exp_overflows(dtype):
    """dst > 0 is not a log-probability, but exp(dst) is taken as it is."""
    top = {"float64": 709.78, "float16": 88.7, "bfloat16": 88.5}.get(dtype.name, 88.7228)
    dst = np.array([[top, top - 0.1, 1.0, 0.0]], dtype)
    scale = 2.0**-1020 if dtype == np.float64 else 2.0**-14
    g = np.array([[scale, 3 * scale, -2 * scale, scale]], dtype)
    at = reference.largest(g, reference.exp(dst))
    result = fastlsm.log_softmax_backward(g, dst=dst, dtype=np.float64 if dtype == np.float64 else np.float32)
    assert reference.ulp_error(result, reference.backward_dst(g, dst), at) <= 2


@dtypes
def test_one_element_rows(dtype):
    """n = 1: log_softmax is 0, the src form diff_dst - diff_dst, the dst form the formula."""
    x = np.array([0.0, -0.0, 3.0, -1e4, 60000.0, INF, -INF, NAN], dtype)[:, None]
    g = np.array([0.1, -3.0, 1e4, -0.25, 5.0, 1.0, 1.0, 1.0], dtype)[:, None]
    expected = np.array([0.0] * 5 + [NAN] * 3)[:, None]
    assert np.array_equal(fastlsm.log_softmax(x).astype(float), expected, equal_nan=True)
    assert np.array_equal(fastlsm.log_softmax_backward(g, x).astype(float), expected, equal_nan=True)
    zero = np.zeros_like(g)
    assert np.array_equal(fastlsm.log_softmax_backward(g, dst=zero), zero)
    infinite = np.full((2, 1), INF, dtype)
    assert np.isnan(fastlsm.log_softmax_backward(infinite, np.zeros_like(infinite))).all()


@pytest.mark.parametrize("n", [4, 400])
def test_a_float32_sum_that_overflows_midway(n):
    g = np.zeros((1, n), np.float32)
    g[0, :4] = [3e38, 3e38, -3e38, -3e38]
    g[0, 1] += np.float32(2.0**104)
    x = np.linspace(-1, 1, n, dtype=np.float32)[None]
    for result, y in (
        (fastlsm.log_softmax_backward(g, x), reference.softmax(x)),
        (fastlsm.log_softmax_backward(g, dst=x), reference.exp(x)),
    ):
        expected = reference.backward_from_softmax(g, y)
        assert np.isfinite(result).all()
        assert reference.ulp_error(result, expected, reference.largest(g, y)) <= 2


@pytest.mark.parametrize("dtype", [np.float32, bfloat16], ids=str)
@pytest.mark.parametrize("n", [20, 200])
def test_a_sum_past_float32_times_a_small_softmax(n, dtype):
    """The sum of diff_dst does not fit float32, its products with softmax do."""
    dtype = np.dtype(dtype)
    g = np.full((2, n), 3e38, dtype)
    g[1] *= -1
    g[:, ::3] /= 2
    x = np.random.default_rng(5).normal(size=g.shape).astype(dtype)
    dst = reference.log_softmax(x).astype(dtype)
    for result, y in (
        (fastlsm.log_softmax_backward(g, x), reference.softmax(x)),
        (fastlsm.log_softmax_backward(g, dst=dst), reference.exp(dst)),
    ):
        expected = reference.backward_from_softmax(g, y)
        fits = np.abs(expected) < 3.3e38
        assert fits.any()
        at = reference.largest(g, y)
        assert reference.ulp_error(result[fits], expected[fits], at[fits]) <= 2


@pytest.mark.parametrize("n", [50, 500])
def test_a_float16_sum_past_65504(n):
    g = np.full((1, n), 60000, np.float16)
    g[0, 0] = -1.5
    x = np.random.default_rng(6).normal(size=g.shape).astype(np.float16)
    result = fastlsm.log_softmax_backward(g, x)
    y = reference.softmax(x)
    expected = reference.backward_from_softmax(g, y)
    fits = np.abs(expected) < 65000
    assert fits.any()
    assert reference.ulp_error(result[fits], expected[fits], reference.largest(g, y)[fits]) <= 0.51


def test_softmax_values_below_float16_still_count():
    """20,000 classes at e^-20 each hold 4e-5 of the mass, though each is below float16's smallest number."""
    x = np.full((1, 20001), -20, np.float16)
    x[0, 0] = 0
    result = fastlsm.log_softmax_backward(np.eye(1, 20001, dtype=np.float16), x, dtype=np.float32)
    y = reference.softmax(x)
    expected = reference.backward_from_softmax(np.eye(1, 20001), y)
    assert reference.ulp_error(result, expected, reference.largest(np.eye(1, 20001), y)) <= 2
    assert np.all(result[0, 1:] < 0)


@pytest.mark.parametrize("n", [2, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda t: t.__name__)
def test_a_gradient_as_large_as_the_dtype_holds(n, dtype):
    """The largest finite number among small ones: nothing on the way to a finite result overflows."""
    rng = np.random.default_rng(8)
    largest = np.finfo(dtype).max
    g = np.zeros((4000, n), dtype)
    g[:, 0] = largest * rng.choice([-1, 1], 4000)
    g[:, 1] = -g[:, 0] * rng.choice([0, 1e-17, 1e-10, 0.15, 0.4], 4000) * rng.random(4000)
    x = np.full(g.shape, -30, dtype)
    x[:, 0] = rng.normal(size=4000) * rng.choice([1e-3, 1.0], 4000)
    x[:, 1] -= rng.choice([0, 29, 50], 4000)
    for result, y in (
        (fastlsm.log_softmax_backward(g, x), reference.softmax(x)),
        (fastlsm.log_softmax_backward(g, dst=x), reference.exp(x)),
    ):
        expected = reference.backward_from_softmax(g, y)
        at = reference.largest(g, y)
        fits = np.abs(expected) < largest * (1 - 4 * reference.LONG(np.finfo(dtype).eps))
        assert fits.mean() > 0.5
        if fastlsm._api.kernels.__name__.endswith("baseline"):  # its product may itself pass the range
            fits &= at < largest * (1 - 4 * reference.LONG(np.finfo(dtype).eps))
        assert np.isfinite(result[fits]).all()
        assert reference.gradient_error(result, g, y)[fits].max() <= 2


@pytest.mark.parametrize("scale", [1e-310, 1e-308, 1e-300, 1e299, 1e304, 1e306])
@pytest.mark.parametrize("n", [3, 100])
def test_float64_gradients_at_the_ends_of_the_range(n, scale):
    rng = np.random.default_rng(9)
    g, x = rng.normal(size=(500, n)) * scale, rng.normal(size=(500, n)) - 1
    for result, y in (
        (fastlsm.log_softmax_backward(g, x), reference.softmax(x)),
        (fastlsm.log_softmax_backward(g, dst=x - 2), reference.exp(x - 2)),
    ):
        expected = reference.backward_from_softmax(g, y)
        assert reference.ulp_error(result, expected, reference.largest(g, y)) <= 2


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("n", [5, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda t: t.__name__)
def test_sums_and_dst_of_any_size(n, dtype, axis):
    """Rows whose sum is huge, tiny or nothing, and dst above 0, beside ordinary ones."""
    rng = np.random.default_rng(10)
    tiny, huge = (-120, 90) if dtype == np.float32 else (-1000, 900)
    exponent = rng.choice([tiny, tiny // 2, 0, 0, 0, huge // 2, huge], size=(300, 1))
    g = np.ldexp(rng.normal(size=(300, n)), exponent).astype(dtype)
    g[::7, 1:] = 0
    g[::7, 0] = 0
    dst = (-np.abs(rng.normal(size=(300, n))) * rng.choice([1, 20], size=(300, 1))).astype(dtype)
    dst[::5, -1] = rng.choice([0.5, 35, 45, 80], size=60)
    y = reference.exp(dst)
    at = reference.largest(g, y)
    fits = at < np.finfo(dtype).max / 4
    assert fits.mean() > 0.9
    if axis == 0:
        result = fastlsm.log_softmax_backward(g.T.copy(), dst=dst.T.copy(), axis=0).T
    else:
        result = fastlsm.log_softmax_backward(g, dst=dst)
    expected = reference.backward_from_softmax(g, y)
    assert reference.ulp_error(result[fits], expected[fits], at[fits]) <= 2


@pytest.mark.parametrize("dtype", [np.float16, bfloat16], ids=str)
@pytest.mark.parametrize("n", [2, 300])
def test_infinities_from_float64_to_16_bits(n, dtype):
    x, g = np.zeros((2, n)), np.zeros((2, n))
    x[0, 1], g[1, 0], g[0] = -INF, INF, 1e300
    expected = np.array([0, -INF]) if n == 2 else np.r_[-np.log(n - 1), -INF]
    assert np.array_equal(fastlsm.log_softmax(x, dtype=dtype)[0, :2], expected.astype(dtype))
    result = fastlsm.log_softmax_backward(g, dst=np.zeros((2, n)), dtype=dtype).astype(float)
    assert np.array_equal(result[1], np.r_[NAN, np.full(n - 1, -INF)], equal_nan=True)
    assert np.array_equal(result[0], np.full(n, -INF))


@pytest.mark.parametrize("dtype", [np.float32, bfloat16], ids=str)
@pytest.mark.parametrize("n", [9, 900])
def test_tiny_gradients_are_not_flushed(n, dtype):
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(7)
    g = (rng.integers(-100, 100, (3, n)) * 2.0**-133).astype(dtype)
    x = rng.normal(size=g.shape).astype(dtype)
    at = reference.largest(g, reference.softmax(x))
    result = fastlsm.log_softmax_backward(g, x)
    assert np.count_nonzero(result) > n
    assert reference.ulp_error(result, reference.backward_src(g, x), at) <= reference.BOUND[dtype]
