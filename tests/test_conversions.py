"""Contract, dtypes: bfloat16 and float16 to and from wider types, seen through the public functions.

Where dst is -inf, exp(dst) is 0 and the gradient is diff_dst itself: widened, then narrowed, and nothing else.
"""

import ml_dtypes
import numpy as np
import pytest
from reference import bfloat16

import fastlsm

pytestmark = pytest.mark.usefixtures("isa")

FLOAT16 = np.dtype(np.float16)
HALVES = [bfloat16, FLOAT16]
half = pytest.mark.parametrize("dtype", HALVES, ids=str)
wide = pytest.mark.parametrize("wide", [np.float32, np.float64], ids=lambda t: t.__name__)


@pytest.fixture(autouse=True)
def _quiet():
    """NumPy and ml_dtypes, which make the expected values, warn of overflow and of signalling NaN."""
    with np.errstate(all="ignore"):
        yield


def convert(x, dtype, contiguous=True):
    """`x` as the kernels store it in `dtype`: in blocks of adjacent elements, or one by one."""
    if not contiguous:
        # Rows of 1, which are walked element by element and never see each other.
        x = np.ascontiguousarray(x).reshape(-1, 1)
        return fastlsm.log_softmax_backward(x, dst=np.full(x.shape, -np.inf, x.dtype), dtype=dtype)[:, 0]
    # Long rows; 0 fills the last.
    rows = np.zeros((-(-x.size // 1000), 1000), x.dtype)
    rows.reshape(-1)[: x.size] = x
    result = fastlsm.log_softmax_backward(rows, dst=np.full(rows.shape, -np.inf, x.dtype), dtype=dtype)
    return result.reshape(-1)[: x.size]


def all_halves(dtype):
    return np.arange(65536, dtype=np.uint16).view(dtype)


def same(a, b):
    """Equal as numbers, NaN for NaN; both zeros are one."""
    return np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True)


@half
@wide
@pytest.mark.parametrize("contiguous", [True, False])
def test_every_finite_half_is_widened_exactly(dtype, wide, contiguous):
    x = all_halves(dtype)
    x = x[np.isfinite(x)]
    assert same(convert(x, wide, contiguous), x.astype(wide))


@half
@wide
@pytest.mark.parametrize("length", [1, 100])
def test_infinities_and_nans_are_widened_as_such(dtype, wide, length):
    """exp tells them apart: exp(-inf) = 0, exp(inf) = inf, exp(NaN) = NaN."""
    x = all_halves(dtype)
    x = x[~np.isfinite(x)].reshape(-1, 1)
    dst = np.broadcast_to(x, (x.size, length))
    g = np.ones(dst.shape, dtype)
    result = fastlsm.log_softmax_backward(g, dst=np.ascontiguousarray(dst), dtype=wide)[:, 0]
    assert same(result, np.select([np.isnan(x[:, 0]), x[:, 0] > 0], [np.nan, -np.inf], 1.0))


def halfway_cases(dtype, wide):
    """All values of the dtype, the middles between neighbours, and what lies just beside both."""
    x = all_halves(dtype)
    x = np.sort(x[np.isfinite(x)].astype(np.float64))
    middles = (x[1:] + x[:-1]) / 2
    overflow = 2 * x[-1] - x[-2]
    edges = np.array([(x[-1] + overflow) / 2, overflow, np.finfo(np.float32).max])
    exact = np.concatenate([x, middles, edges, -edges]).astype(wide)
    return np.concatenate([exact, np.nextafter(exact, wide(-np.inf)), np.nextafter(exact, wide(np.inf))])


@half
@wide
@pytest.mark.parametrize("contiguous", [True, False])
def test_halfway_cases_are_rounded_to_even(dtype, wide, contiguous):
    x = halfway_cases(dtype, wide)
    x = x[np.isfinite(x)]
    # NumPy rounds both float32 and float64 once.
    expected = x.astype(FLOAT16) if dtype == FLOAT16 else round_to_bfloat16(x)
    assert same(convert(x, dtype, contiguous), expected)


def round_to_bfloat16(x):
    """Rounded once; ml_dtypes goes from float64 through float32, which rounds twice."""
    if x.dtype == np.float32:
        return x.astype(bfloat16)
    exponent = np.frexp(x)[1]
    digits = np.minimum(8, exponent + 133)  # fewer below 2^-126
    unit = np.ldexp(1.0, exponent - digits)
    rounded = np.rint(x / unit) * unit
    largest = float(ml_dtypes.finfo(bfloat16).max)
    return np.where(np.abs(rounded) > largest, np.copysign(np.inf, x), rounded)


def test_the_references_agree():
    x = halfway_cases(bfloat16, np.float32)
    assert same(round_to_bfloat16(x.astype(np.float64)), x.astype(bfloat16))


@half
@wide
@pytest.mark.parametrize("contiguous", [True, False])
def test_random_bits_are_narrowed(rng, dtype, wide, contiguous):
    bits = rng.integers(0, 2**32, 100_000, dtype=np.uint32)
    x = bits.view(np.float32).astype(wide)
    x = x[np.isfinite(x)]
    expected = x.astype(FLOAT16) if dtype == FLOAT16 else round_to_bfloat16(x)
    assert same(convert(x, dtype, contiguous), expected)


@half
@wide
@pytest.mark.parametrize("columns", [1, 100])
def test_a_nan_stays_a_nan_whatever_its_payload(dtype, wide, columns):
    if wide is np.float32:
        payloads = np.arange(1, 2**23, 997, dtype=np.uint32)
        x = np.concatenate([payloads | 0x7F800000, payloads | 0xFF800000]).view(np.float32)
    else:
        payloads = np.concatenate([2 ** np.arange(52, dtype=np.uint64), 2 ** np.arange(1, 53, dtype=np.uint64) - 1])
        x = np.concatenate([payloads | 0x7FF << 52, payloads | 0xFFF << 52]).view(np.float64)
    g = np.zeros((x.size, columns), wide)
    g[:, 0] = x
    result = fastlsm.log_softmax_backward(g, dst=np.zeros_like(g), dtype=dtype)
    assert np.isnan(result.astype(np.float32)).all()


def test_subnormals_are_kept():
    """Results in each dtype's subnormal range, from operands there."""
    tiny = np.array([[2.0**-149, -(2.0**-140), 2.0**-127]], np.float32)
    dst = np.full(tiny.shape, -np.inf, np.float32)
    assert np.array_equal(fastlsm.log_softmax_backward(tiny, dst=dst), tiny)
    for dtype, smallest in ((bfloat16, 2.0**-133), (FLOAT16, 2.0**-24)):
        x = np.array([[smallest, -3 * smallest, 7 * smallest]], dtype)
        assert np.array_equal(fastlsm.log_softmax_backward(x, dst=dst.astype(dtype)), x)
