"""Right answers, in float64, and what counts as one."""

import numpy as np

# Relative to the largest number in the formula: several times the worst of the honest rivals, far below a wrong answer.
TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 4e-3, "float64": 1e-11}


def log_softmax(src, axis):
    shifted = src - src.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def answer(form, diff_dst, x, axis):
    x = x.astype(np.float64)
    if form == "forward":
        return log_softmax(x, axis)
    diff_dst = diff_dst.astype(np.float64)
    dst = x if form == "dst" else log_softmax(x, axis)
    return diff_dst - np.exp(dst) * diff_dst.sum(axis, keepdims=True)


class WrongAnswer(Exception):
    """A contender's result is not the formula's."""


def check(result, expected, dtype):
    if result.shape != expected.shape:
        raise WrongAnswer(f"wrong shape: {result.shape} for {expected.shape}")
    error = np.abs(result.astype(np.float64) - expected).max() / max(1.0, np.abs(expected).max())
    if not error <= TOLERANCE[dtype]:
        raise WrongAnswer(f"wrong answer: off by {error:.2g} of the largest number")
