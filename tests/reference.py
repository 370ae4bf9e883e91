"""The formulas in plain NumPy, at the precision of long double or what `real` is: what fastlsm is compared with.

`log_softmax`, `backward_src` and `backward_dst` are the float64 twins; `exact_*` are the same in mpmath, for
results that are float64 themselves. `ulp_error` says how far a result is off.
"""

import threading
from typing import NamedTuple

import ml_dtypes
import mpmath
import numpy as np

bfloat16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(np.float32), bfloat16, np.dtype(np.float16), np.dtype(np.float64)]
LONG = np.longdouble

# Bounds of the contract, in units in the last place.
BOUND = {np.dtype(np.float32): 2, np.dtype(np.float64): 2, bfloat16: 0.51, np.dtype(np.float16): 0.51}

_MANTISSA_BITS = {np.dtype(np.float32): 23, np.dtype(np.float64): 52, bfloat16: 7, np.dtype(np.float16): 10}
_MIN_EXPONENT = {np.dtype(np.float32): -126, np.dtype(np.float64): -1022, bfloat16: -126, np.dtype(np.float16): -14}


def _shifted(src, axis):
    m = src.max(axis, keepdims=True)
    return src - m, src == m


def total(a, axis):
    """The sum, in pairs: along any axis but the nearest, NumPy adds one to the other, and the errors add up too."""
    return np.expand_dims(np.ascontiguousarray(np.moveaxis(a, axis, -1)).sum(-1), axis)


def log_softmax(src, axis=-1, real=LONG):
    src = np.asarray(src, real)
    with np.errstate(all="ignore"):
        x, at_max = _shifted(src, axis)
        others = total(np.where(at_max, 0, np.exp(x)), axis)
        return x - np.log1p(others + (at_max.sum(axis, keepdims=True) - 1))


class Mass(NamedTuple):
    """A softmax p, and 1 - p: where p is nearly 1, the difference would have lost it."""

    p: np.ndarray
    rest: np.ndarray


def softmax(src, axis=-1, real=LONG):
    with np.errstate(all="ignore"):
        x, at_max = _shifted(np.asarray(src, real), axis)
        e = np.exp(x)
        others = total(np.where(at_max, x, e), axis)  # x is 0 there, or NaN of infinities
        whole = others + at_max.sum(axis, keepdims=True)
        rest = np.where(at_max, others + (at_max.sum(axis, keepdims=True) - 1), whole - e)
        return Mass(e / whole, rest / whole)


def exp(dst, real=LONG):
    """What the dst form takes for the softmax."""
    with np.errstate(all="ignore"):
        dst = np.asarray(dst, real)
        return Mass(np.exp(dst), -np.expm1(dst))


def _sum_in_two_parts(diff_dst, axis, real):
    """The sum and what it lost in rounding: each step's error is exact (Knuth's two-sum)."""
    a = np.moveaxis(np.asarray(diff_dst, real), axis, 0)
    if not len(a):
        return np.zeros(a.shape[1:], real), np.zeros(a.shape[1:], real)
    lost = np.zeros_like(a[0])
    while len(a) > 1:
        half = len(a) // 2
        x, y = a[:half], a[half : 2 * half]
        s = x + y
        t = s - x
        lost += ((x - (s - t)) + (y - t)).sum(0)
        a = np.concatenate([s, a[2 * half :]])
    return a[0], lost


def _terms(diff_dst, mass, axis, real):
    """The products of both formulas: p * S, and diff_dst * (1 - p) and p * (S - diff_dst)."""
    hi, lo = (np.expand_dims(part, axis) for part in _sum_in_two_parts(diff_dst, axis, real))
    lo = np.where(np.isfinite(hi), lo, 0)
    return mass.p * (hi + lo), diff_dst * mass.rest, mass.p * ((hi - diff_dst) + lo)


def backward_from_softmax(diff_dst, mass, axis=-1, real=LONG):
    """By the second formula where p is more than a half: where p is 1, the first would leave nothing."""
    diff_dst = np.asarray(diff_dst, real)
    with np.errstate(all="ignore"):
        product, kept, given = _terms(diff_dst, mass, axis, real)
        second = (mass.p > 0.5) & (mass.p < 2) & np.isfinite(product)
        return np.where(second, kept - given, diff_dst - product)


def backward_src(diff_dst, src, axis=-1):
    return backward_from_softmax(diff_dst, softmax(src, axis), axis)


def backward_dst(diff_dst, dst, axis=-1):
    return backward_from_softmax(diff_dst, exp(dst), axis)


def largest(diff_dst, mass, axis=-1, real=LONG):
    """The number of which the error is counted in units: of the two formulas, the smaller of the largest numbers.

    A mass above 1, which an arbitrary dst may give, is no probability. There only the first formula counts.
    """
    diff_dst = np.asarray(diff_dst, real)
    with np.errstate(all="ignore"):
        product, kept, given = _terms(diff_dst, mass, axis, real)
        first = np.maximum(np.maximum(np.abs(product), np.abs(diff_dst)), np.abs(diff_dst - product))
        second = np.maximum(np.maximum(np.abs(given), np.abs(kept)), np.abs(kept - given))
        return np.where(mass.p > 1, first, np.fmin(first, second))


def unit(x, dtype, real=LONG):
    """The unit in the last place of a dtype at x."""
    exponent = np.frexp(np.abs(np.asarray(x, real)))[1] - 1
    return np.ldexp(real(1), np.maximum(exponent, _MIN_EXPONENT[dtype]) - _MANTISSA_BITS[dtype])


def ulp_error(result, expected, at):
    """The largest error in units in the last place of the result's dtype at `at`."""
    return float(np.max(np.abs(result.astype(LONG) - expected) / unit(at, result.dtype)))


def lost_in_sum(diff_dst, mass, axis=-1):
    """What the sum of diff_dst itself may lose, of each element: beside the bound of the contract."""
    size = np.abs(diff_dst.astype(LONG)).sum(axis, keepdims=True)
    return mass.p * size * LONG(2) ** (-96 if diff_dst.dtype == np.float64 else -48)


def gradient_error(result, diff_dst, mass, axis=-1):
    """The error of each element of a gradient in its units, without what the sum may lose."""
    expected, at = backward_from_softmax(diff_dst, mass, axis), largest(diff_dst, mass, axis)
    with np.errstate(invalid="ignore"):
        error = np.abs(result.astype(LONG) - expected) - lost_in_sum(diff_dst, mass, axis)
        return np.maximum(error, 0) / unit(at, result.dtype)


# ------------------------------------------------------------------------------------------- with mpmath

_MPMATH = threading.Lock()  # its precision is the whole process's


def exact_row(src, diff_dst=None, normalise=True):
    """One float64 row in 60 digits: its log_softmax, or its gradient and the numbers that its units are of (`largest`).

    Each comes as a list of mpmath numbers; with `normalise` false `src` is dst.
    """
    with _MPMATH, mpmath.workdps(60):
        x = [mpmath.mpf(float(v)) for v in src]
        m = max(x) if normalise else 0
        e = [mpmath.exp(v - m) for v in x]
        if diff_dst is None:
            top = x.index(m)
            log_sum = mpmath.log1p(mpmath.fsum(e[:top] + e[top + 1 :]))
            return [v - m - log_sum for v in x]
        norm = mpmath.fsum(e) if normalise else 1
        g = [mpmath.mpf(float(v)) for v in diff_dst]
        total = mpmath.fsum(g)
        result, at = [], []
        for v, element in zip(e, g, strict=True):
            p = v / norm
            product, kept, given = p * total, element * (1 - p), p * (total - element)
            result.append(element - product)
            size = abs(result[-1])
            at.append(min(max(size, abs(element), abs(product)), max(size, abs(kept), abs(given))))
        return result, at


def exact_ulp_error(result, expected, at):
    """ulp_error for a row of mpmath numbers."""
    units = [float(unit(float(v), result.dtype)) for v in at]
    with _MPMATH, mpmath.workdps(60):
        return max(float(abs(mpmath.mpf(float(r)) - e) / u) for r, e, u in zip(result, expected, units, strict=True))
