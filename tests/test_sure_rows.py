"""Contract, Accuracy: rows in which one class has nearly all the mass, whose gradient plain formulas lose.

diff_dst - p S, and diff_dst (1 - p) - p (S - diff_dst), are the same gradient. An error is counted in units of the
largest number in one of the formulas, and of that in which it is smaller. So an element of cross-entropy's gradient is
right to its own last two units.
"""

import numpy as np
import pytest
import reference
from reference import BOUND, DTYPES

import fastlsm

pytestmark = pytest.mark.usefixtures("isa")

GAPS = [1, 5, 12, 17, 25, 37.43, 60]
LENGTHS = [2, 3, 10, 47, 48, 100, 1000]
FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]


def sure_rows(rng, n, count):
    """Logits with one class above the others, by each of the gaps in turn, and where that is."""
    src = rng.normal(size=(count, n))
    top = rng.integers(0, n, count)
    src[np.arange(count), top] = src.max(axis=1) + np.resize(GAPS, count) + rng.uniform(0, 0.5, count)
    return src, top


def one_hot(labels, n):
    target = np.zeros((len(labels), n))
    target[np.arange(len(labels)), labels] = 1
    return target


def right_label(rng, top, n):
    return -one_hot(top, n) / 64


def another_label(rng, top, n):
    return -one_hot((top + 1) % n, n) / 64


def smoothed_label(rng, top, n):
    return -(0.9 * one_hot(top, n) + 0.1 / n) / 64


def soft_target(rng, top, n):
    return -rng.dirichlet(np.full(n, 0.3), len(top))


def random_gradient(rng, top, n):
    return rng.normal(size=(len(top), n))


GRADIENTS = [right_label, another_label, smoothed_label, soft_target, random_gradient]


def backward(form, diff_dst, x, axis=-1, **options):
    operand = {"dst": x} if form == "dst" else {"src": x}
    return fastlsm.log_softmax_backward(diff_dst, axis=axis, **operand, **options)


def backward_in(layout, form, diff_dst, x):
    """The gradient along the last axis, of operands that lie as the layout says."""
    if layout == "columns":
        return backward(form, diff_dst.T.copy(), x.T.copy(), axis=0).T
    if layout == "every second":
        return backward(form, *(np.repeat(a, 2, axis=1)[:, ::2] for a in (diff_dst, x)))
    return backward(form, diff_dst, x)


def operands(form, gradient, rng, n, count, dtype):
    src, top = sure_rows(rng, n, count)
    diff_dst = gradient(rng, top, n).astype(dtype)
    return diff_dst, (src if form == "src" else reference.log_softmax(src)).astype(dtype)


def assert_right(result, form, diff_dst, x):
    mass = reference.softmax(x) if form == "src" else reference.exp(x)
    worst = reference.gradient_error(result, diff_dst, mass).max()
    assert worst <= BOUND[result.dtype], worst


@pytest.mark.parametrize("layout", ["rows", "columns", "every second"])
@pytest.mark.parametrize("gradient", GRADIENTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", ["src", "dst"])
def test_each_element_is_right(rng, form, dtype, gradient, layout):
    for n in LENGTHS:
        diff_dst, x = operands(form, gradient, rng, n, 70, dtype)
        result = backward_in(layout, form, diff_dst, x)
        assert_right(result, form, diff_dst, x)


@pytest.mark.parametrize("gradient", [right_label, random_gradient], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", ["src", "dst"])
@pytest.mark.parametrize("shape", [(7000, 2), (3, 40_000), (1, 140_000)], ids=str)
def test_long_rows_and_many(rng, form, dtype, gradient, shape):
    diff_dst, x = operands(form, gradient, rng, shape[1], shape[0], dtype)
    assert_right(backward(form, diff_dst, x), form, diff_dst, x)
    assert_right(backward(form, diff_dst.T.copy(), x.T.copy(), axis=0).T, form, diff_dst, x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", ["src", "dst"])
@pytest.mark.parametrize("n", [2, 5, 100, 1000, 20_000, 140_000])
def test_every_layout_has_the_same_bits(rng, form, dtype, n):
    diff_dst, x = operands(form, random_gradient, rng, n, 35, dtype)
    expected = backward(form, diff_dst, x).view(f"u{dtype.itemsize}")
    gapped = [np.repeat(a, 2, axis=1)[:, ::2] for a in (diff_dst, x)]
    over_diff_dst = diff_dst.copy()
    backward(form, over_diff_dst, x, out=over_diff_dst)
    others = {
        "columns": backward(form, diff_dst.T.copy(), x.T.copy(), axis=0).T,
        "gaps": backward(form, *gapped),
        "one by one": np.concatenate([backward(form, diff_dst[i : i + 1], x[i : i + 1]) for i in range(len(x))]),
        "one thread": backward(form, diff_dst, x, num_threads=1),
        "in place": over_diff_dst,
    }
    for name, result in others.items():
        assert np.array_equal(np.ascontiguousarray(result).view(expected.dtype), expected), name


@pytest.mark.parametrize("second", DTYPES, ids=str)
@pytest.mark.parametrize("first", DTYPES, ids=str)
def test_mixed_dtypes(rng, first, second):
    src, top = sure_rows(rng, 30, 70)
    diff_dst, src = random_gradient(rng, top, 30).astype(first), src.astype(second)
    for dtype in DTYPES:
        result = fastlsm.log_softmax_backward(diff_dst, src, dtype=dtype)
        assert reference.gradient_error(result, diff_dst, reference.softmax(src)).max() <= BOUND[dtype]


@pytest.mark.parametrize("form", ["src", "dst"])
def test_the_row_that_others_lose(form):
    """PyTorch, TensorFlow and JAX answer [0, -5.55e-17]."""
    src = np.array([37.42994775023705, 0.0])
    result = backward(form, np.array([1.0, 0.0]), src if form == "src" else fastlsm.log_softmax(src))
    assert np.allclose(result, [5.551115123125776e-17, -5.551115123125776e-17], rtol=4e-16, atol=0)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("gap", GAPS)
def test_beside_mpmath(rng, gap, dtype):
    """A few rows in 80 digits, for the twin in long double might be wrong as well."""
    n = 7
    src, top = sure_rows(rng, n, 4)
    src[np.arange(4), top] += gap
    src = src.astype(dtype)
    for gradient in GRADIENTS:
        diff_dst = gradient(rng, top, n).astype(dtype)
        for result, x, g in zip(fastlsm.log_softmax_backward(diff_dst, src), src, diff_dst, strict=True):
            expected, at = reference.exact_row(x, g)
            assert reference.exact_ulp_error(result, expected, at) <= 2


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_constant_gradients_of_nearly_equal_classes(rng, dtype):
    """diff_dst is just above a power of two, and its unit just below: a rounding of diff_dst's size costs a unit.

    In 17 classes or more none has a sixteenth of the mass, from which on the src form knows a class better.
    """
    for n in (2, 5, 8, 17, 20, 31):
        src = (0.05 * rng.normal(size=(4000, n))).astype(dtype)
        diff_dst = np.broadcast_to(1 + rng.uniform(0, 1 / n, (4000, 1)), src.shape).astype(dtype)
        assert_right(fastlsm.log_softmax_backward(diff_dst, src), "src", diff_dst, src)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_shared_logits(rng, dtype):
    for n in (3, 6, 12, 20, 33, 200):
        src = np.where(rng.random((3000, n)) < 0.8, *rng.normal(size=(2, 3000, 1))).astype(dtype)
        for diff_dst in (rng.normal(size=src.shape), np.ones(src.shape) + rng.uniform(0, 1 / n, (3000, 1))):
            diff_dst = diff_dst.astype(dtype)
            result = fastlsm.log_softmax_backward(diff_dst, src)
            assert_right(result, "src", diff_dst, src)


@pytest.mark.parametrize("layout", ["rows", "columns", "every second"])
@pytest.mark.parametrize(
    ("dtype", "one", "others", "sum_"),
    [
        (np.float32, 0.20291168987751007, -0.30026718974113464, 1.5609383583068848),
        (np.float64, -0.6324352074238927, 0.6271312380787788, 1.061734821984934),
    ],
    ids=["float32", "float64"],
)
def test_roundings_of_one_sign(dtype, one, others, sum_, layout):
    """19 exps are rounded alike, and so is their sum. Without what they lose, the first element is beyond 2."""
    src, diff_dst = np.full((20, 20), others, dtype), np.zeros((20, 20), dtype)
    src[:, 0], diff_dst[:, 1] = one, sum_
    assert_right(backward_in(layout, "src", diff_dst, src), "src", diff_dst, src)


@pytest.mark.parametrize("layout", ["rows", "columns", "every second"])
@pytest.mark.parametrize(
    ("dtype", "src", "element"),
    [
        (np.float32, [1.1435468e-06, 1.07865992e-06], 0.124868132),
        (np.float64, [2.1295289159663316e-15, 1.9985305260470863e-15], 7.93485202422929),
    ],
    ids=["float32", "float64"],
)
def test_two_largest_classes_whose_exp_is_rounded_to_one_number(dtype, src, element, layout):
    """What is known of the largest class must not be taken for the other's: 2.2 units, and 2.4 in float64."""
    src = np.array([src + [-np.inf] * 18] * 20, dtype)
    diff_dst = np.array([[element] * 2 + [0] * 18] * 20, dtype)
    assert_right(backward_in(layout, "src", diff_dst, src), "src", diff_dst, src)


@pytest.mark.parametrize("layout", ["rows", "columns", "every second"])
@pytest.mark.parametrize(
    ("dtype", "src", "diff_dst"),
    [
        (
            np.float32,
            [-0.432055116, -1.03936768],
            [6.5481019, 3.04589963, -11.4021349, 7.68895531, -0.181910023, 1.49849463, 7.18711805],
        ),
        (
            np.float64,
            [0.001121641670619052, -0.5197101387948104],
            [
                -0.4724367472396598, 0.3983886043980624, 1.7696124571274532, 0.4433175020368765,
                -0.2993083138844743, -0.5213402148331052, 0.42168981231332237,
            ],
        ),
    ],
    ids=["float32", "float64"],
)  # fmt: skip
def test_a_difference_that_is_rounded_twice(dtype, src, diff_dst, layout):
    """The second class has a third of the mass, and half of its product with the sum cancels: 2.3 units."""
    src = np.array([src + [-np.inf] * 5] * 20, dtype)
    diff_dst = np.array([diff_dst] * 20, dtype)
    assert_right(backward_in(layout, "src", diff_dst, src), "src", diff_dst, src)


@pytest.mark.parametrize("layout", ["rows", "columns", "every second"])
@pytest.mark.parametrize(
    ("dtype", "src", "place", "element"),
    [
        (
            np.float32,
            [88.5251999, 100.004402, 89.1938934, 89.6889877, 100.004402, 89.4484024, 89.3573380, 89.2261734],
            4,
            0.9999328255653381,
        ),
        (
            np.float64,
            [-9.312546131136898, -9.027513958074435, -0.03603905616842839, 0.026015239948893727],
            2,
            7.758557133388652,
        ),
        (np.float64, [0.7067145181462158, -1.0426157194384886], 1, 1.7976931348623157e308),
        (
            np.float32,
            [0.517082214, 1.01840866, -0.668680489, 0.540127158, 0.116955273, 1.51874900, -0.00151843973, 0.990247309],
            3,
            3.4028234663852886e38,
        ),
    ],
    ids=["float32", "float64", "the largest float64", "the largest float32"],
)
def test_differences_across_a_power_of_two(dtype, src, place, element, layout):
    """The product's last bits are finer than the difference's, or the difference comes to the end of the range."""
    src, diff_dst = np.array([src] * 20, dtype), np.zeros((20, len(src)), dtype)
    diff_dst[:, place] = element
    assert_right(backward_in(layout, "src", diff_dst, src), "src", diff_dst, src)


@pytest.mark.parametrize("layout", ["rows", "columns", "every second"])
def test_a_sum_whose_rounding_error_overflows(layout):
    diff_dst = np.array([[-4.852785078692115e307, 1.7976931348623157e308]] * 20)
    src = np.array([[-1.3353113462177817, -0.5469796491067508]] * 20)
    assert_right(backward_in(layout, "src", diff_dst, src), "src", diff_dst, src)


@pytest.mark.parametrize("n", [3, 100, 1000, 20_000])
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("gap", [5, 40])
def test_a_sum_past_float32(layout, n, gap):
    diff_dst, src = np.zeros((20, n), np.float32), np.zeros((20, n), np.float32)
    diff_dst[:, :2], src[:, 0] = 3e38, gap + np.log(n)
    result = backward_in(layout, "src", diff_dst, src)
    assert_right(result, "src", diff_dst, src)


@pytest.mark.parametrize("n", [3, 100, 1000, 20_000])
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("gap", [5, 40])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_infinity_in_diff_dst_of_a_sure_row(dtype, layout, n, gap):
    """IEEE: the sum is infinite, and so is its product with any softmax but 0."""
    src = np.zeros((20, n), dtype)
    src[:, 0] = gap
    for place in (0, 1):
        diff_dst = np.ones((20, n), dtype)
        diff_dst[:, place] = np.inf
        result = backward_in(layout, "src", diff_dst, src)
        expected = np.full((20, n), -np.inf)
        expected[:, place] = np.nan
        assert np.array_equal(result.astype(float), expected, equal_nan=True)


def huge_sums():
    M = 1.797e308
    return {
        "by turns": [M, -M, M, -M],
        "late": [M, M, -M, -M],
        "what is left counts": [M, M, -M, 2.5e300, -M],
        "nothing is left but little": [M, M, -M, -M, 1.0],
        "to the largest": [M, M, -M],
        "many": [M] * 40 + [-M] * 40 + [M / 3, -M / 5],
        "long": [M, -M / 2] * 9000 + [-M / 2] * 9000,
    }


@pytest.mark.parametrize("layout", ["rows", "columns", "every second"])
@pytest.mark.parametrize("row", huge_sums(), ids=str)
@pytest.mark.parametrize("form", ["src", "dst"])
def test_sums_of_float64_that_overflow_on_the_way(rng, form, row, layout):
    """The largest and its negative in any order: the sum is finite, its parts are not."""
    row = np.array(huge_sums()[row])
    diff_dst = np.stack([rng.permutation(row) for _ in range(20)])
    diff_dst[3] = rng.normal(size=row.shape)
    src = rng.normal(size=diff_dst.shape)
    x = src if form == "src" else np.asarray(reference.log_softmax(src), float)
    mass = reference.softmax(x) if form == "src" else reference.exp(x)
    expected, at = reference.backward_from_softmax(diff_dst, mass), reference.largest(diff_dst, mass)
    fits = np.abs(expected) < np.finfo(float).max
    result = backward_in(layout, form, diff_dst, x)
    assert fits.mean() > 0.5
    assert reference.ulp_error(result[fits], expected[fits], at[fits]) <= 2


@pytest.mark.parametrize("form", ["src", "dst"])
def test_infinity_beside_a_sum_that_overflows(form):
    M = 1.797e308
    diff_dst = np.array([[M, M, -M, -M, np.inf, 1], [M, M, -M, -M, -np.inf, np.inf], [M, M, -M, -M, np.nan, 1]])
    result = backward(form, diff_dst, np.full(diff_dst.shape, -1.0))
    assert np.array_equal(result[0], [-np.inf] * 4 + [np.nan, -np.inf], equal_nan=True)
    assert np.isnan(result[1:]).all()


def test_the_reference_is_that_of_mpmath(rng):
    src, top = sure_rows(rng, 9, 7)
    diff_dst = soft_target(rng, top, 9)
    mass = reference.softmax(src)
    values, at = reference.backward_from_softmax(diff_dst, mass), reference.largest(diff_dst, mass)
    for row in range(len(src)):
        exact, exact_at = reference.exact_row(src[row], diff_dst[row])
        assert np.allclose(values[row].astype(float), [float(e) for e in exact], rtol=3e-16, atol=0)
        assert np.allclose(at[row].astype(float), [float(e) for e in exact_at], rtol=3e-16, atol=0)
