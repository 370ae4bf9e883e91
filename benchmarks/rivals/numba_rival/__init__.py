"""Kernels written for Numba with the care that such a kernel deserves."""

import math

import numba
import numpy as np

from benchmarks.rivals.numba_rival import kernels
from benchmarks.rivals.prepared import Prepared

LONGEST_SHORT_ROW = 128
LONGEST_UNROLLED_ROW = 12
SMALLEST_SHARED = 8192  # elements; fewer are done sooner than a second thread wakes


def prepare(problem):
    numba.set_num_threads(problem.threads)
    axis, shape = problem.memory_axis, problem.taken_out.shape
    arrays = [problem.diff_dst_parent, problem.x_parent, problem.taken_out]
    if problem.dtype.itemsize == 2:
        arrays = [a.view(np.uint16) for a in arrays]
    if axis % len(shape) == len(shape) - 1:
        arrays = [a.reshape(-1, a.shape[-1]) for a in arrays]
    else:
        arrays = [a.reshape(math.prod(shape[:axis]), shape[axis], -1) for a in arrays]
    diff_dst, x, out = arrays
    shared = out.size >= SMALLEST_SHARED
    threads = problem.threads if shared else 1
    kernel = _kernel(problem, out.shape, shared)
    return Prepared(lambda: kernel(diff_dst, x, out, threads), lambda: problem.out)


def _kernel(problem, shape, shared):
    dtype, form, take = problem.cell.dtype, problem.form, problem.cell.shape.take
    if len(shape) == 3:
        return kernels.columns(dtype, form, shared)
    step = take[-1].step or 1 if take else 1
    if shape[0] < problem.threads and shared:
        return kernels.long_rows(dtype, form, step)
    if shape[1] <= LONGEST_SHORT_ROW and not take:
        constant = shape[1] if shape[1] <= LONGEST_UNROLLED_ROW else None
        return kernels.short_rows(dtype, form, constant, shared)
    return kernels.rows(dtype, form, step, shared)


CONTENDERS = {"Numba": prepare}
