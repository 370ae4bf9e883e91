# From arrays of any strides to the three axes (outer, n, inner) and the loops that `walk` goes along.
#
# The arrays are diff_dst, src and out, as buffers of one shape that has no 0 in it. No element is moved.

from cpython.buffer cimport Py_buffer

from fastlsm.kernels.axes cimport AxisSet
from fastlsm.kernels.problem cimport MAX_DIMENSIONS, Operand, Problem


cdef inline Py_ssize_t distance(Py_ssize_t stride) noexcept nogil:
    return stride if stride >= 0 else -stride


cdef inline bint is_contiguous(const Py_buffer* a, char order) noexcept nogil:
    """Whether the array fills its memory in C order ("C") or in Fortran order ("F")."""
    cdef Py_ssize_t step = a.itemsize
    cdef int i, d
    for i in range(a.ndim):
        d = i if order == b"F" else a.ndim - 1 - i
        if a.shape[d] != 1:
            if a.strides[d] != step:
                return False
            step *= a.shape[d]
    return True


cdef inline bint is_aligned(const Py_buffer* a) noexcept nogil:
    """Whether each element's address is a multiple of the itemsize, which is a power of two."""
    cdef size_t bits = <size_t> a.buf
    cdef int d
    for d in range(a.ndim):
        if a.shape[d] > 1:
            bits |= <size_t> a.strides[d]
    return bits & (a.itemsize - 1) == 0


cdef inline bint have_same_shape(const Py_buffer* a, const Py_buffer* b) noexcept nogil:
    cdef int d
    if a.ndim != b.ndim:
        return False
    for d in range(a.ndim):
        if a.shape[d] != b.shape[d]:
            return False
    return True


# ---------------------------------------------------------------------------------- one array and another

cdef inline int sort_axes(int* axes, const Py_buffer* a) noexcept nogil:
    """The axes of more than one element, those of the smallest strides first. Returns how many there are."""
    cdef int count = 0, i, d
    for d in range(a.ndim):
        if a.shape[d] == 1:
            continue
        i = count
        while i > 0 and distance(a.strides[axes[i - 1]]) > distance(a.strides[d]):
            axes[i] = axes[i - 1]
            i -= 1
        axes[i] = d
        count += 1
    return count


cdef inline bint may_overlap_itself(const Py_buffer* a) noexcept nogil:
    """Whether two elements of the array may share memory. The answer may be yes for rare strides where none do."""
    cdef int axes[MAX_DIMENSIONS]
    cdef int count = sort_axes(axes, a), i
    cdef Py_ssize_t end = a.itemsize
    for i in range(count):
        if distance(a.strides[axes[i]]) < end:
            return True
        end += distance(a.strides[axes[i]]) * (a.shape[axes[i]] - 1)
    return False


cdef inline void find_ends(const Py_buffer* a, const char** begin, const char** end) noexcept nogil:
    """Between which addresses the array's elements lie."""
    cdef Py_ssize_t reach
    cdef int d
    begin[0] = <const char*> a.buf
    end[0] = <const char*> a.buf + a.itemsize
    for d in range(a.ndim):
        reach = (a.shape[d] - 1) * a.strides[d]
        if reach < 0:
            begin[0] += reach
        else:
            end[0] += reach


cdef inline bint are_far_apart(const Py_buffer* a, const Py_buffer* b) noexcept nogil:
    """Whether one array ends before the other begins."""
    cdef const char* a_begin
    cdef const char* a_end
    cdef const char* b_begin
    cdef const char* b_end
    find_ends(a, &a_begin, &a_end)
    find_ends(b, &b_begin, &b_end)
    return a_end <= b_begin or b_end <= a_begin


cdef inline bint have_same_places(const Py_buffer* a, const Py_buffer* b) noexcept nogil:
    """Whether each element of one array has the address of the other's same element. Their shapes are equal."""
    cdef int d
    if a.buf != b.buf:
        return False
    for d in range(a.ndim):
        if a.shape[d] != 1 and a.strides[d] != b.strides[d]:
            return False
    return True


cdef inline bint have_one_clear_order(const Py_buffer* a, const Py_buffer* b) noexcept nogil:
    """Whether the strides of both arrays put the axes in the same order, and leave no doubt of it.

    A ufunc asks more than the strides where some are equal, negative or 0, or belong to an axis of one element.
    """
    cdef int d, e
    for d in range(a.ndim):
        if a.strides[d] <= 0 or b.strides[d] <= 0 or a.shape[d] == 1:
            return False
        for e in range(d):
            if a.strides[d] == a.strides[e] or b.strides[d] == b.strides[e]:
                return False
            if (a.strides[d] < a.strides[e]) != (b.strides[d] < b.strides[e]):
                return False
    return True


cdef inline char order_of_result(const Py_buffer* a, const Py_buffer* b) noexcept nogil:
    """The memory order of a ufunc's result: "C", "F", "K" for the order of array a, or 0 where only NumPy knows."""
    cdef int longer = 0, d
    for d in range(a.ndim):
        longer += a.shape[d] != 1
    if longer <= 1 or is_contiguous(a, b"C") and is_contiguous(b, b"C"):
        return b"C"
    if is_contiguous(a, b"F") and is_contiguous(b, b"F"):
        return b"F"
    if not have_one_clear_order(a, b):
        return 0
    if a.ndim == 2:                             # NumPy is quicker with the other names
        return b"C" if a.strides[0] > a.strides[1] else b"F"
    return b"K"


# ------------------------------------------------------------------------------------------ three arrays

cdef inline bint goes_outside(const Py_buffer* arrays, int d, int e) noexcept nogil:
    """Whether axis d is to be outside axis e: in the result the steps along it are longer.

    Where they are equally long the second operand decides, then the first.
    """
    cdef Py_ssize_t along_d, along_e
    cdef int i
    for i in range(2, -1, -1):
        along_d, along_e = distance(arrays[i].strides[d]), distance(arrays[i].strides[e])
        if along_d != along_e:
            return along_d > along_e
    return False


cdef inline bint is_one_axis(const Py_buffer* arrays, int outside, int d) noexcept nogil:
    """Whether a step along the axis outside is, in each array, as long as all of axis d."""
    cdef int i
    for i in range(3):
        if arrays[i].strides[outside] != arrays[i].strides[d] * arrays[i].shape[d]:
            return False
    return True


cdef inline bint is_outside_rows(const Py_buffer* arrays, int d, Operand** operands, Py_ssize_t n) noexcept nogil:
    """Whether a step along axis d is, in each array, as long as a row of n elements."""
    cdef int k
    for k in range(3):
        if arrays[k].strides[d] != operands[k].n * n:
            return False
    return True


cdef inline bint are_one_axis(const Py_buffer* arrays, AxisSet along) noexcept nogil:
    """Whether the axes of the set, taken in C order, are one axis in each array."""
    cdef int outside = -1, d
    for d in range(arrays[0].ndim):
        if along >> d & 1 and arrays[0].shape[d] != 1:
            if outside >= 0 and not is_one_axis(arrays, outside, d):
                return False
            outside = d
    return True


cdef inline void lay_out(Problem* p, const Py_buffer* arrays, AxisSet along) noexcept nogil:
    """Set the extents and the strides of the problem and of its operands.

    The softmax runs along the axes `along`, which are one axis in each array. Of the others, those that lie one in the
    other in each array are merged. Of the axes that remain, `inner` is the one along which neighbours are nearest, and
    `outer` the longest of the others. The rest are the loops, the longest last.
    """
    cdef int axes[MAX_DIMENSIONS]               # outermost first; of merged ones the innermost, whose strides they have
    cdef Py_ssize_t extents[MAX_DIMENSIONS]
    cdef const Py_ssize_t* shape = arrays[0].shape
    cdef Operand* operands[3]
    cdef Py_ssize_t extent
    cdef int count = 0, merged = 0, softmax = -1, i, k, d
    operands[0], operands[1], operands[2] = &p.diff_dst, &p.src, &p.out

    p.n = p.outer = p.inner = 1
    p.ndim = 0
    for d in range(arrays[0].ndim):
        if shape[d] == 1:
            continue
        if along >> d & 1:
            p.n *= shape[d]
            softmax = d                         # the innermost of them at last
            continue
        i = count
        while i > 0 and goes_outside(arrays, d, axes[i - 1]):
            axes[i] = axes[i - 1]
            i -= 1
        axes[i] = d
        count += 1
    for i in range(count):
        d = axes[i]
        if merged > 0 and is_one_axis(arrays, axes[merged - 1], d):
            merged -= 1
            extents[merged] *= shape[d]
        else:
            extents[merged] = shape[d]
        axes[merged] = d
        merged += 1

    for k in range(3):
        # Along an axis of one element there is no step.
        operands[k].n = arrays[k].strides[softmax] if softmax >= 0 else arrays[k].itemsize
        operands[k].inner = operands[k].n       # there is only one element along it, or else:
        operands[k].outer = 0
    if merged == 0:
        return
    if merged == 1 and is_outside_rows(arrays, axes[0], operands, p.n):
        p.outer = extents[0]
        for k in range(3):
            operands[k].outer = arrays[k].strides[axes[0]]
        return
    merged -= 1
    p.inner = extents[merged]
    for k in range(3):
        operands[k].inner = arrays[k].strides[axes[merged]]
    if merged == 0:
        return

    for i in range(1, merged):                  # the longest last
        d, extent = axes[i], extents[i]
        k = i
        while k > 0 and extents[k - 1] > extent:
            axes[k], extents[k] = axes[k - 1], extents[k - 1]
            k -= 1
        axes[k], extents[k] = d, extent
    p.ndim = merged - 1
    for i in range(p.ndim):
        p.loops[i] = extents[i]
        for k in range(3):
            operands[k].loops[i] = arrays[k].strides[axes[i]]
    p.outer = extents[p.ndim]
    for k in range(3):
        operands[k].outer = arrays[k].strides[axes[p.ndim]]
