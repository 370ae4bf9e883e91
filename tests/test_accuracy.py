"""Contract, Accuracy: the bounds in units in the last place, on every distribution of the accuracy table."""

import numpy as np
import pytest
import reference
from reference import BOUND, DTYPES

import fastlsm

pytestmark = pytest.mark.usefixtures("isa")


def normal(rng):
    return rng.normal(size=(100, 1000)), rng.normal(size=(100, 1000))


def one_hot(rng):
    """The gradient of cross-entropy: -1 / batch at the label."""
    g = np.zeros((100, 1000))
    g[np.arange(100), rng.integers(0, 1000, 100)] = -1 / 100
    return g, 3 * rng.normal(size=g.shape)


def wide_logits(rng):
    return rng.normal(size=(100, 1000)), rng.uniform(-80, 80, size=(100, 1000))


def cancelling(rng):
    """Rows whose gradient sums to next to nothing."""
    g = rng.normal(size=(100, 1000))
    g[:, 1::2] = -g[:, ::2] * (1 + 1e-6 * rng.normal(size=(100, 500)))
    return g, rng.normal(size=g.shape)


def spread(rng):
    size = (100, 1000)
    return np.exp(rng.uniform(-12, 6, size)) * rng.choice([-1, 1], size), rng.normal(size=size)


def dominated(rng):
    """One class holds all but 1e-26 of the mass."""
    x = rng.uniform(-1, 0, size=(100, 1000)) - 60 - np.log(1000)
    x[np.arange(100), rng.integers(0, 1000, 100)] = rng.uniform(-1, 1, 100)
    return rng.normal(size=x.shape), x


def confident(rng):
    """Cross-entropy's gradient where one class is far above: its softmax is just below 1, where units are smaller."""
    x = 3 * rng.normal(size=(30000, 10))
    x[:, 0] += rng.uniform(10, 40, len(x))
    g = np.zeros_like(x)
    g[np.arange(len(x)), rng.integers(0, 10, len(x))] = -1
    return g, x


def masked(rng):
    x = rng.normal(size=(100, 1000))
    hidden = rng.random(x.shape) < 0.5
    hidden[:, 0] = False
    x[hidden] = rng.choice([-np.inf, -1e4, -60000.0], size=hidden.sum())
    return rng.normal(size=x.shape), x


def long_rows(rng):
    return rng.normal(size=(1, 128256)), 2 * rng.normal(size=(1, 128256))


def few_classes(rng):
    return rng.normal(size=(30000, 3)), 2 * rng.normal(size=(30000, 3))


def large_logits(rng):
    """Far from 0, where src - max is what matters."""
    return rng.normal(size=(100, 1000)), rng.uniform(-50, 50, size=(100, 1000)) + rng.choice([-3e4, 250, 3e4], (100, 1))


DISTRIBUTIONS = [
    normal, one_hot, wide_logits, cancelling, spread, dominated, confident, masked, long_rows, few_classes, large_logits
]  # fmt: skip

distributions = pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda f: f.__name__)
narrow_dtypes = pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)


@distributions
@narrow_dtypes
def test_log_softmax(rng, distribution, dtype):
    x = distribution(rng)[1].astype(dtype)
    expected = reference.log_softmax(x)
    finite = np.isfinite(x)
    result = fastlsm.log_softmax(x)
    assert np.array_equal(result[~finite], x[~finite])
    assert reference.ulp_error(result[finite], expected[finite], expected[finite]) <= BOUND[dtype]


@distributions
@narrow_dtypes
def test_src_form(rng, distribution, dtype):
    g, x = (a.astype(dtype) for a in distribution(rng))
    at = reference.largest(g, reference.softmax(x))
    result = fastlsm.log_softmax_backward(g, x)
    assert reference.ulp_error(result, reference.backward_src(g, x), at) <= BOUND[dtype]


@distributions
@narrow_dtypes
def test_dst_form(rng, distribution, dtype):
    g, x = distribution(rng)
    g, dst = g.astype(dtype), reference.log_softmax(x).astype(dtype)
    at = reference.largest(g, reference.exp(dst))
    result = fastlsm.log_softmax_backward(g, dst=dst)
    assert reference.ulp_error(result, reference.backward_dst(g, dst), at) <= BOUND[dtype]


# float64 has no wider twin: a few rows in 60 digits.


def exact_rows(distribution, rng):
    g, x = distribution(rng)
    keep = 200 if x.shape[1] <= 100 else 2
    longest = 40_000  # three parts, which are summed apart
    return g[:keep, :longest], x[:keep, :longest]


_exact = {}


@pytest.fixture(params=DISTRIBUTIONS, ids=lambda f: f.__name__)
def exact(request):
    """Rows of a distribution with their exact answers, which are worked out once for all levels."""
    if request.param not in _exact:
        g, x = exact_rows(request.param, np.random.default_rng(21))
        dst = reference.log_softmax(x).astype(np.float64)
        with np.errstate(invalid="ignore"):
            x_finite = np.where(np.isfinite(x), x, -1e308)
            dst_finite = np.where(np.isfinite(dst), dst, -1e308)
        _exact[request.param] = {
            "arrays": (g, x, dst),
            "forward": [reference.exact_row(row) for row in x_finite],
            "src": [reference.exact_row(row, g_row) for row, g_row in zip(x_finite, g, strict=True)],
            "dst": [reference.exact_row(row, g_row, normalise=False) for row, g_row in zip(dst_finite, g, strict=True)],
        }
    return _exact[request.param]


def test_float64_log_softmax(exact):
    _, x, _ = exact["arrays"]
    for result, row, expected in zip(fastlsm.log_softmax(x), x, exact["forward"], strict=True):
        finite = np.isfinite(row)
        expected = [e for e, keep in zip(expected, finite, strict=True) if keep]
        assert reference.exact_ulp_error(result[finite], expected, expected) <= 2


def test_float64_src_form(exact):
    g, x, _ = exact["arrays"]
    for result, (expected, at) in zip(fastlsm.log_softmax_backward(g, x), exact["src"], strict=True):
        assert reference.exact_ulp_error(result, expected, at) <= 2


def test_float64_dst_form(exact):
    g, _, dst = exact["arrays"]
    for result, (expected, at) in zip(fastlsm.log_softmax_backward(g, dst=dst), exact["dst"], strict=True):
        assert reference.exact_ulp_error(result, expected, at) <= 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64, reference.bfloat16], ids=str)
@pytest.mark.parametrize("gap", [1.0, 10.0, 30.0, 69.0, 80.0])
def test_a_class_with_nearly_all_the_mass(gap, dtype):
    """dst of the class that holds all but exp(-gap) is about -exp(-gap), not 0."""
    x = np.array([[0.0, -gap], [gap, 0.0], [5 - gap, 5.0]], dtype)
    with np.errstate(under="ignore"):
        expected = -np.log1p(np.exp(-reference.LONG(gap)))
    top = fastlsm.log_softmax(x).max(axis=1).astype(reference.LONG)
    assert np.all(np.abs(top - expected) <= 2 * reference.unit(expected, np.dtype(dtype)))
    assert np.all(top < 0)


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_mixed_results_are_rounded_once(rng, dtype):
    """float64 in, 16 bits out: what long double rounds to, nearly always, and never a unit away."""
    g, x = rng.normal(size=(100, 300)), rng.normal(size=(100, 300))
    at = reference.largest(g, reference.softmax(x))
    result = fastlsm.log_softmax_backward(g, x, dtype=dtype)
    assert result.dtype == dtype
    assert reference.ulp_error(result, reference.backward_src(g, x), at) <= 0.51
