# The problem that is handed to `walk`: one form, three arrays, and how their elements lie in memory.

cdef enum DType:
    FLOAT32
    FLOAT64
    BFLOAT16
    FLOAT16

cdef enum Form:
    LOG_SOFTMAX
    BACKWARD_SRC
    BACKWARD_DST

cdef enum:
    MAX_DIMENSIONS = 64         # NumPy's most
    MAX_LOOPS = 62              # all of them but n and inner

cdef struct Operand:
    char* data                  # element [0, 0, 0]
    DType dtype
    Py_ssize_t itemsize
    Py_ssize_t outer, n, inner  # bytes from an element to the next along each axis
    bint far                    # more than the caches hold
    bint turned                 # elements along the axis are nearer to each other than along inner
    Py_ssize_t loops[MAX_LOOPS]

cdef struct Problem:
    Form form
    volatile bint stopped       # the call is to end at once; what is written does not matter any more
    int type                    # of adjacent elements of 16 bits, if all are such: loops compute on them as they are
    bint ahead                  # loops along rows ask for what they will read, which is not near
    bint flat                   # rows are adjacent, and so short that they are gone through as one run
    bint near                   # columns are in the caches and can be computed on where they lie
    bint wide                   # columns are far, and run along memory: in long runs, processors read ahead themselves
    Py_ssize_t outer, n, inner  # extents
    int ndim                    # axes outside `outer` that could not be merged into it, and
    Py_ssize_t loops[MAX_LOOPS]  # their extents
    Operand diff_dst            # with LOG_SOFTMAX the same as
    Operand src                 # dst in the dst form
    Operand out
