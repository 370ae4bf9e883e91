# The axes along which the softmax runs, as a call names them.

from cpython.long cimport PyLong_AsLongAndOverflow

ctypedef unsigned long long AxisSet     # bit d: whether axis d is in the set. NumPy's arrays have at most 64 axes


cdef inline bint is_plain_axis(axis) noexcept:
    """Whether `axis` is an int, a tuple of ints or None, and no subclass of these."""
    if type(axis) is int or axis is None:
        return True
    if type(axis) is not tuple:
        return False
    for index in <tuple> axis:
        if type(index) is not int:
            return False
    return True


cdef inline AxisSet axis_at(index, int ndim) except 0:
    """The set of one axis, which may be counted from the last."""
    cdef int overflow
    cdef long d = PyLong_AsLongAndOverflow(index, &overflow)
    if overflow or not -ndim <= d < ndim:
        from numpy.exceptions import AxisError
        raise AxisError(index, ndim)
    return <AxisSet> 1 << (d + ndim if d < 0 else d)


cdef inline int find_axes(AxisSet* axes, axis, int ndim) except -1:
    """Set `axes` to those that a plain `axis` names."""
    cdef AxisSet one
    if type(axis) is int:
        axes[0] = axis_at(axis, ndim)
    elif axis is None:
        axes[0] = ~<AxisSet> 0
    else:
        axes[0] = 0
        for index in <tuple> axis:
            one = axis_at(index, ndim)
            if axes[0] & one:
                raise ValueError("duplicate value in 'axis'")
            axes[0] |= one
    return 0
