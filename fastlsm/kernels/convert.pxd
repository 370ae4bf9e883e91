"""Rows to scratch and back: packed, or turned to columns. What is turned has its dtype converted, too."""

from libc.string cimport memset

from fastlsm.kernels.loops cimport Strip, copy_rows, load_elements, store_elements, stream_copy, turn
from fastlsm.kernels.problem cimport Operand, Problem, arithmetic_format, format_of, locate, real_size


cdef inline Strip strip_at(const Problem* p, const Operand* op, Py_ssize_t first) noexcept nogil:
    """From row `first` on."""
    return Strip(locate(p, op, first), op.outer)


cdef inline const char* packed(Strip x, Py_ssize_t rows, Py_ssize_t bytes, Py_ssize_t ahead,
                               char* scratch) noexcept nogil:
    """Rows one after the other: where they lie, or copied to scratch."""
    if x.pitch == bytes:
        return x.data
    copy_rows(scratch, bytes, x.data, x.pitch, rows, bytes, ahead)
    return scratch


cdef inline void unpack(bint streamed, Strip to, const char* x, Py_ssize_t rows, Py_ssize_t bytes) noexcept nogil:
    """Finished rows to their places. Adjacent rows go as one, for only whole cache lines are streamed."""
    cdef Py_ssize_t r
    if to.pitch == bytes:
        bytes, rows = bytes * rows, 1
    if not streamed:
        copy_rows(to.data, to.pitch, x, bytes, rows, bytes, 0)
        return
    for r in range(rows):
        stream_copy(to.data + r * to.pitch, x + r * bytes, bytes)


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


cdef inline void store_turned(bint in_double, bint streamed, const Operand* op, char* at, Py_ssize_t height,
                              Py_ssize_t width, Strip x, double* flat) noexcept nogil:
    """`width` columns of `height` elements to rows."""
    cdef Py_ssize_t size = real_size(in_double), row = height * op.itemsize, c
    cdef bint adjacent = op.n == op.itemsize
    if adjacent and is_native(in_double, op) and not op.far:
        turn(in_double, at, op.inner, x.data, x.pitch, height, width)
        return
    turn(in_double, <char*> flat, height * size, x.data, x.pitch, height, width)
    if adjacent and is_native(in_double, op):
        unpack(streamed, Strip(at, op.inner), <const char*> flat, width, row)
    elif adjacent and op.inner == row:
        store_elements(in_double, flat, op.dtype, at, op.itemsize, height * width)
    else:
        for c in range(width):
            store_elements(in_double, <const char*> flat + c * height * size, op.dtype, at + c * op.inner, op.n, height)
