"""A call as the kernels see it: three operands over (outer, n, inner), where n is the length of the softmax axis."""

cdef extern from "item.hpp" nogil:
    enum class DType:
        FLOAT32
        FLOAT64
        BFLOAT16
        FLOAT16

    enum class Format:
        F32
        F64
        BF16
        F16

    Format format_of(DType dtype) noexcept
    Format arithmetic_format(bint in_double) noexcept
    Py_ssize_t size_of(Format format) noexcept
    Py_ssize_t real_size(bint in_double) noexcept
    bint is_narrow(Format format) noexcept
    bint has_quick_ends(Format format) noexcept
    const char* format_name(Format format) noexcept

cdef extern from "forms.hpp" nogil:
    enum class Form:
        LOG_SOFTMAX
        BACKWARD_SRC
        BACKWARD_DST

    enum class Counted:
        NOTHING
        TIES
        LOST

    struct FormTraits:
        bint has_gradient
        bint needs_exp
        Counted counted
        bint has_limits
        Py_ssize_t few_classes

    FormTraits traits_of(Form form) noexcept
    Counted counted_for(Form form, DType result) noexcept
    bint writes_from_exp(Form form) noexcept

cdef extern from "caches.hpp" nogil:
    struct Caches:
        Py_ssize_t ahead_from
        Py_ssize_t far_from
        Py_ssize_t stage
    Caches caches

cdef extern from "real.hpp" nogil:
    enum:
        MOST_COUNTED

cdef extern from "bits.hpp" nogil:
    enum:
        LANES
    Py_ssize_t blocks(Py_ssize_t n, Py_ssize_t size) noexcept
    Py_ssize_t round_up(Py_ssize_t n, Py_ssize_t size) noexcept
    Py_ssize_t part_length(Py_ssize_t n) noexcept

cdef enum:
    MAX_DIMENSIONS = 64         # NumPy's most


cdef struct Operand:
    char* data                  # element [0, 0, 0]
    DType dtype
    Py_ssize_t itemsize
    Py_ssize_t outer, n, inner  # bytes from an element to the next along each axis
    Py_ssize_t loops[MAX_DIMENSIONS]
    bint far                    # the caches do not keep it

cdef struct Problem:
    Form form
    volatile bint stopped       # the call is to end at once: nobody will read what it writes
    Py_ssize_t outer, n, inner  # extents
    int ndim                    # the number of axes outside `outer` that do not merge with it
    Py_ssize_t loops[MAX_DIMENSIONS]    # the extents of these
    Operand diff_dst            # log_softmax: the same array as src
    Operand src                 # src, or dst in the dst form
    Operand out


cdef inline char* locate(const Problem* p, const Operand* op, Py_ssize_t outer) noexcept nogil:
    """The address of op[outer, 0, 0], where `outer` counts on through the axes that do not merge."""
    cdef char* at = op.data
    cdef int d
    if p.ndim == 0:
        return at + outer * op.outer
    at += outer % p.outer * op.outer
    outer //= p.outer
    for d in range(p.ndim - 1, -1, -1):
        at += outer % p.loops[d] * op.loops[d]
        outer //= p.loops[d]
    return at


cdef inline bint writes_over_operand(const Problem* p) noexcept nogil:
    """Whether the result takes the place of an operand. `run` lets no array overlap otherwise."""
    return p.out.data == p.src.data or p.out.data == p.diff_dst.data
