"""The plain formula, with its one large temporary allocated beforehand."""

import numpy as np

from benchmarks.rivals.prepared import Prepared


def _exp_of_shifted(src, axis, scratch):
    """exp(src - max) in scratch, and its sum."""
    np.subtract(src, src.max(axis, keepdims=True), out=scratch)
    np.exp(scratch, out=scratch)
    return scratch.sum(axis, keepdims=True)


def dst_form(diff_dst, dst, axis, scratch, out):
    np.exp(dst, out=scratch)
    np.multiply(scratch, diff_dst.sum(axis, keepdims=True), out=scratch)
    np.subtract(diff_dst, scratch, out=out)


def src_form(diff_dst, src, axis, scratch, out):
    mass = _exp_of_shifted(src, axis, scratch)
    np.multiply(scratch, diff_dst.sum(axis, keepdims=True) / mass, out=scratch)
    np.subtract(diff_dst, scratch, out=out)


def forward(diff_dst, src, axis, scratch, out):
    mass = _exp_of_shifted(src, axis, scratch)
    np.subtract(src, src.max(axis, keepdims=True) + np.log(mass), out=out)


FORMULAS = {"dst": dst_form, "src": src_form, "forward": forward}


def prepare(problem):
    formula, axis, out = FORMULAS[problem.form], problem.axis, problem.out
    diff_dst, x = problem.diff_dst, problem.x
    if problem.dtype.itemsize > 2:
        scratch = np.empty_like(out)
        return Prepared(lambda: formula(diff_dst, x, axis, scratch, out), lambda: out, scratch.nbytes)
    # Sums in 16 bits would be wrong, and 16-bit ufuncs are slower than converting.
    wide = [np.empty_like(out, np.float32) for _ in range(4)]

    def call():
        np.copyto(wide[1], x)
        if problem.form != "forward":
            np.copyto(wide[0], diff_dst)
        formula(wide[0], wide[1], axis, wide[2], wide[3])
        np.copyto(out, wide[3], casting="same_kind")

    return Prepared(call, lambda: out, sum(array.nbytes for array in wide))


CONTENDERS = {"NumPy": prepare}
