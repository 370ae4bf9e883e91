"""The formulas in plain NumPy, at the precision of long double or what `real` is: what fastlsm is compared with.

`log_softmax`, `backward_src` and `backward_dst` are the float64 twins; `exact_*` are the same in mpmath, for
results that are float64 themselves. `ulp_error` says how far a result is off.
"""

import threading

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


def softmax(src, axis=-1, real=LONG):
    with np.errstate(all="ignore"):
        e = np.exp(_shifted(np.asarray(src, real), axis)[0])
        return e / total(e, axis)


def backward_from_softmax(diff_dst, y, axis=-1, real=LONG):
    diff_dst = np.asarray(diff_dst, real)
    with np.errstate(all="ignore"):
        return diff_dst - y * total(diff_dst, axis)


def backward_src(diff_dst, src, axis=-1):
    return backward_from_softmax(diff_dst, softmax(src, axis), axis)


def backward_dst(diff_dst, dst, axis=-1):
    with np.errstate(all="ignore"):
        return backward_from_softmax(diff_dst, np.exp(np.asarray(dst, LONG)), axis)


def largest(diff_dst, y, axis=-1, real=LONG):
    """The largest number in the gradient's formula, of which the error is counted in units."""
    diff_dst = np.asarray(diff_dst, real)
    product = y * total(diff_dst, axis)
    return np.maximum(np.maximum(np.abs(product), np.abs(diff_dst)), np.abs(diff_dst - product))


def unit(x, dtype, real=LONG):
    """The unit in the last place of a dtype at x."""
    exponent = np.frexp(np.abs(np.asarray(x, real)))[1] - 1
    return np.ldexp(real(1), np.maximum(exponent, _MIN_EXPONENT[dtype]) - _MANTISSA_BITS[dtype])


def ulp_error(result, expected, at):
    """The largest error in units in the last place of the result's dtype at `at`."""
    return float(np.max(np.abs(result.astype(LONG) - expected) / unit(at, result.dtype)))


# ------------------------------------------------------------------------------------------- with mpmath

_MPMATH = threading.Lock()  # its precision is the whole process's


def exact_row(src, diff_dst=None, normalise=True):
    """One float64 row in 60 digits: its log_softmax, or its gradient and the largest number in the formula.

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
        product = [v / norm * total for v in e]
        result = [a - b for a, b in zip(g, product, strict=True)]
        return result, [max(abs(a), abs(b), abs(c)) for a, b, c in zip(g, product, result, strict=True)]


def exact_ulp_error(result, expected, at):
    """ulp_error for a row of mpmath numbers."""
    units = [float(unit(float(v), result.dtype)) for v in at]
    with _MPMATH, mpmath.workdps(60):
        return max(float(abs(mpmath.mpf(float(r)) - e) / u) for r, e, u in zip(result, expected, units, strict=True))
