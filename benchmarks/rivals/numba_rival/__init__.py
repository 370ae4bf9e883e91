"""Kernels written for Numba with the care that such a kernel deserves."""

import numba
import numpy as np

from benchmarks.rivals.numba_rival import kernels
from benchmarks.rivals.prepared import Prepared

LONGEST_SHORT_ROW = 64


def prepare(problem):
    numba.set_num_threads(problem.threads)
    dtype, form, axis = problem.cell.dtype, problem.form, problem.memory_axis
    shape = problem.taken_out.shape
    arrays = [problem.diff_dst_parent, problem.x_parent, problem.taken_out]
    n = shape[axis]
    step = problem.cell.shape.take[axis].step or 1 if problem.cell.shape.take else 1
    if axis % len(shape) != len(shape) - 1:
        kernel = kernels.columns(dtype, form)
        arrays = [a.reshape(int(np.prod(shape[:axis])), n, -1) for a in arrays]
    else:
        arrays = [a.reshape(-1, a.shape[-1]) for a in arrays]
        if len(arrays[-1]) < problem.threads:
            kernel = kernels.long_rows(dtype, form, step)
        elif n <= LONGEST_SHORT_ROW and not problem.cell.shape.take:
            kernel = kernels.short_rows(dtype, form, n)
        else:
            kernel = kernels.rows(dtype, form, step)
    if problem.dtype.itemsize == 2:
        arrays = [a.view(np.uint16) for a in arrays]
    diff_dst, x, out = arrays
    # The threads are started and woken in a microsecond or two; on a handful of rows even that shows.
    threads = problem.threads if problem.cell.elements >= kernels.SMALLEST_SHARED else 1
    return Prepared(lambda: kernel(diff_dst, x, out, threads), lambda: problem.out)


CONTENDERS = {"Numba": prepare}
