"""Sums of diff_dst that have overflowed on the way (include/overflow.hpp)."""

from libc.math cimport INFINITY, fabs

from fastlsm.kernels.loops cimport Constants, Sum, sum_of_huge, unscaled
from fastlsm.kernels.problem cimport Problem


cdef inline bint is_finite(const Constants& constants, Py_ssize_t row) noexcept nogil:
    """Whether the sum of a row's diff_dst is finite, and what it has lost: that may overflow alone."""
    return fabs(constants.diff_dst_hi[row]) < INFINITY and fabs(constants.diff_dst_lo[row]) < INFINITY


cdef inline bint mend_sum(const Problem* p, const char* diff_dst, const Constants& constants,
                          Py_ssize_t row) noexcept nogil:
    """Sum a row once more if its sum is not finite. Returns whether it was read."""
    cdef Sum sum
    if is_finite(constants, row):
        return False
    sum = unscaled(sum_of_huge(p.diff_dst.dtype, diff_dst, p.diff_dst.n, p.n))
    constants.diff_dst_hi[row], constants.diff_dst_lo[row] = sum.hi, sum.lo
    return True
