"""Rows to scratch as columns, and columns back to rows. Their dtype is converted on the way."""

from libc.string cimport memset

from fastlsm.kernels.loops cimport Strip, load_elements, store_block, turn
from fastlsm.kernels.problem cimport Operand, arithmetic_format, format_of, real_size


cdef inline bint is_native(bint in_double, const Operand* op) noexcept nogil:
    """Whether an operand's elements are of the arithmetic's type."""
    return format_of(op.dtype) == arithmetic_format(in_double)


cdef inline void clear_unused(Strip to, Py_ssize_t rows, Py_ssize_t bytes) noexcept nogil:
    """Zero what a strip's rows have beyond `bytes`: columns that nobody will read, but whose numbers might be slow."""
    cdef Py_ssize_t i
    if bytes < to.pitch:
        for i in range(rows):
            memset(to.data + i * to.pitch + bytes, 0, to.pitch - bytes)


cdef inline void load_turned(bint in_double, const Operand* op, const char* at, Py_ssize_t row_pitch, Py_ssize_t height,
                             Py_ssize_t width, Strip to, double* flat) noexcept nogil:
    """`height` elements of each of `width` rows, as `width` columns. Rows are `row_pitch` bytes apart."""
    cdef Py_ssize_t size = real_size(in_double), c
    if op.n == op.itemsize and is_native(in_double, op):
        turn(in_double, to.data, to.pitch, at, row_pitch, width, height)
    else:
        if op.n == op.itemsize and row_pitch == height * op.itemsize:
            load_elements(in_double, flat, op.dtype, at, op.itemsize, height * width)
        else:
            for c in range(width):
                load_elements(in_double, <char*> flat + c * height * size, op.dtype, at + c * row_pitch, op.n, height)
        turn(in_double, to.data, to.pitch, <const char*> flat, height * size, width, height)


cdef inline void store_turned(bint in_double, const Operand* op, char* at, Py_ssize_t height, Py_ssize_t width, Strip x,
                              double* flat) noexcept nogil:
    """`width` columns of `height` elements to rows."""
    cdef Py_ssize_t size = real_size(in_double), c
    if op.n == op.itemsize and is_native(in_double, op) and not op.far:
        turn(in_double, at, op.inner, x.data, x.pitch, height, width)
        return
    turn(in_double, <char*> flat, height * size, x.data, x.pitch, height, width)
    if op.n == op.itemsize and op.inner == height * op.itemsize:
        store_block(in_double, flat, op.dtype, op.far, at, op.itemsize, height * width)
    else:
        for c in range(width):
            store_block(
                in_double, <const char*> flat + c * height * size, op.dtype, op.far, at + c * op.inner, op.n, height)
