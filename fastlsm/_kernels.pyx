"""The kernels' entry points from Python: log-softmax and its gradient, any dtype, any strides.

`run` is a whole call. It checks arrays in normal form and brings their axes to (outer, n, inner) (kernels/layout.pxd).
`walk` asks for the plan (kernels/plan.pxd), which chooses one of six walks. All give the same bits:

- rows (kernels/rows.pxd): vectors run along the axis, row after row, in parts and chunks
- batches (kernels/batches.pxd): some rows at once, where they lie
- flat rows (kernels/flat_rows.pxd): rows of a few elements, as one run
- columns (kernels/columns.pxd): vectors run across neighbouring rows, for an axis that is not the nearest in memory
- tall (kernels/tall.pxd): the same for long columns, row by row; threads share the rows
- interleaved (kernels/interleaved.pxd): the same for a few rows that fill a run of memory

Rows in chunks (kernels/partials.pxd, _partials.pxi) take the passes of rows and of columns.

A walk decides in which order memory is visited. The loops that it calls (include/*.hpp) compute on adjacent elements,
in vectors; convert.hpp brings elements of any stride there. What defines a result's bits is in include/bits.hpp and
real.hpp.
"""
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc

from fastlsm.kernels.axes cimport AxisSet, find_axes, is_plain_axis
from fastlsm.kernels.columns cimport walk_columns
from fastlsm.kernels.interleaved cimport walk_interleaved
from fastlsm.kernels.layout cimport (
    are_far_apart, are_one_axis, have_same_places, have_same_shape, is_aligned, lay_out, may_overlap_itself,
    order_of_result,
)
from fastlsm.kernels.loops cimport CACHE_LINE, Partial, TeamTimer, combine_partials, next_line
from fastlsm.kernels.partials cimport Job, lay_out_rows, walk_chunks
from fastlsm.kernels.plan cimport Plan, Walk, arrange, plan_for
from fastlsm.kernels.problem cimport (
    DType, Form, Operand, Problem, blocks, caches, format_name, part_length, writes_from_exp,
)
from fastlsm.kernels.rows cimport walk_rows
from fastlsm.kernels.tall cimport walk_tall
from fastlsm.kernels.workspace cimport Workspace

import _thread
import os
import threading
from weakref import ref

import numpy

cdef extern from "openmp.h" nogil:
    const int FASTLSM_OPENMP
    int openmp_max_threads() noexcept
    int openmp_processors() noexcept
    bint openmp_in_parallel() noexcept
    const char* openmp_library() noexcept

cdef extern from "cpu.h":
    const char* FASTLSM_COMPILER
    int cpu_supports(const char* level) noexcept

cdef extern from "tuning.hpp" nogil:
    enum:
        BRIEF, KEPT_ROW, LEAST_SHARE, LONG_SHARE, STAGE

ELEMENTS_PER_THREAD = LEAST_SHARE

FORMS = {
    "LOG_SOFTMAX": <int> Form.LOG_SOFTMAX,
    "BACKWARD_SRC": <int> Form.BACKWARD_SRC,
    "BACKWARD_DST": <int> Form.BACKWARD_DST,
}

cdef object main_thread = threading.main_thread, get_ident = threading.get_ident, team = threading.Lock()
cdef object ndarray = numpy.ndarray, empty = numpy.empty, empty_like = numpy.empty_like
cdef object float32 = numpy.dtype(numpy.float32), float64 = numpy.dtype(numpy.float64)
cdef object float16 = numpy.dtype(numpy.float16)


cdef int code_of(dtype) except -2:
    """The DType of a dtype in native byte order, or -1. Nothing is remembered: threads share what is global."""
    if dtype is float32:
        return <int> DType.FLOAT32
    if dtype is float64:
        return <int> DType.FLOAT64
    if dtype is float16:
        return <int> DType.FLOAT16
    # bfloat16 is known by its name, so that ml_dtypes need not be imported. No structured or void type is aligned so,
    # whatever it calls itself.
    if dtype.itemsize == dtype.alignment == 2 and dtype.isnative and dtype.type.__name__ == "bfloat16":
        return <int> DType.BFLOAT16
    if dtype == float32:            # the same with metadata, say
        return <int> DType.FLOAT32
    if dtype == float64:
        return <int> DType.FLOAT64
    if dtype == float16:
        return <int> DType.FLOAT16
    return -1


cdef object native(dtype):
    return dtype if dtype.isnative else dtype.newbyteorder("=")


cpdef int native_code(dtype, is_of) except -1:
    """The DType of a dtype in any byte order. If there is none, a TypeError begins with `is_of` ("src has dtype")."""
    cdef int code = code_of(native(dtype))
    if code < 0:
        raise TypeError(f"{is_of} {dtype}; supported are float32, bfloat16, float16 and float64")
    return code


cdef void set_operand(Operand* op, const Py_buffer* buffer, DType dtype) noexcept:
    op.data = <char*> buffer.buf
    op.dtype = dtype
    op.itemsize = buffer.itemsize
    op.far = buffer.len >= caches.far_from


cdef struct Call:
    Problem* problem
    Plan plan
    Workspace* workspaces       # one for each thread, or NULL
    TeamTimer* timer
    Partial* partials           # of rows in chunks, or NULL
    Job job                     # what is done to these


cdef void compute(const Call* call) noexcept nogil:
    if call.partials != NULL:
        walk_chunks(call.problem, &call.plan, call.job, call.partials, call.workspaces, call.timer)
    elif call.plan.walk == Walk.COLUMNS:
        walk_columns(call.problem, &call.plan, call.workspaces, call.timer)
    elif call.plan.walk == Walk.TALL:
        walk_tall(call.problem, &call.plan, call.workspaces, call.timer)
    elif call.plan.walk == Walk.INTERLEAVED:
        walk_interleaved(call.problem, &call.plan, call.workspaces, call.timer)
    else:
        walk_rows(call.problem, &call.plan, call.workspaces, call.timer)


cdef class Aside:
    """A long walk in a thread of its own, so that the main thread is free to answer signals."""
    cdef const Call* call
    cdef object ended

    def __call__(self):
        with nogil:
            compute(self.call)
        self.ended.release()

    @staticmethod
    cdef int compute(const Call* call) except -1:
        """compute(). What a signal's handler raises ends it and goes on."""
        cdef Aside aside = Aside()
        aside.call = call
        aside.ended = _thread.allocate_lock()
        aside.ended.acquire()
        process = os.getpid()
        try:
            # Not a threading.Thread: to start one waits for it, and a signal could come between.
            _thread.start_new_thread(aside, ())
        except RuntimeError:            # the system allows no more threads
            with nogil:
                compute(call)
            return 0
        try:
            while not aside.ended.acquire(timeout=0.05):
                PyErr_CheckSignals()    # acquire itself answers those that come while it waits
                if os.getpid() != process:
                    raise RuntimeError("a signal's handler forked; the child has not the threads that were computing")
        except BaseException:
            call.problem.stopped = True
            while os.getpid() == process:   # the call is ending already: further signals change nothing
                try:
                    aside.ended.acquire()
                    break
                except BaseException:
                    pass
            raise
        return 0


cdef int walk(Problem* p, int threads, note_lost, Partial* partials=NULL, Job job=Job.FINISH) except -1:
    """Compute p.out, by rows or by columns; the result is the same. Given partials, do a job on rows in chunks."""
    cdef Call call
    cdef TeamTimer timer
    cdef void* memory = NULL
    cdef Py_ssize_t elements
    # One call at a time has threads: so many teams at once would only be in each other's way.
    cdef bint has_team = threads > 1 and team.acquire(False)
    p.stopped = False
    call.problem = p
    call.plan = plan_for(p, threads if has_team else 1, partials != NULL)
    call.workspaces = NULL
    call.timer = &timer
    call.partials, call.job = partials, job
    arrange(p, &call.plan)
    threads = call.plan.threads
    elements = call.plan.count * p.n
    try:
        # `one_row` keeps exp of short rows on the stack, and needs no other scratch.
        if call.plan.walk != Walk.ROWS or writes_from_exp(p.form) and p.n > KEPT_ROW:
            memory = PyMem_RawMalloc(threads * sizeof(Workspace) + CACHE_LINE)
            if memory == NULL:
                raise MemoryError
            call.workspaces = <Workspace*> next_line(memory)
        if elements <= BRIEF:
            compute(&call)
        # Only the main thread answers signals, so only its long calls run aside.
        elif elements >= LONG_SHARE * threads and get_ident() == main_thread().ident:
            Aside.compute(&call)
        else:
            with nogil:
                compute(&call)
        if threads > 1:
            note_lost(timer.lost)
    finally:
        PyMem_RawFree(memory)
        if has_team:
            team.release()
    return 0


cdef object base_of = numpy.ndarray.base.__get__       # a subclass's own `base` may be anything


cpdef list hold(array):
    """Weak references to an array and to its bases. While they exist, NumPy refuses to resize these arrays."""
    cdef list references = []
    while isinstance(array, ndarray):
        references.append(ref(array))
        array = base_of(array)
    return references


cdef bint take(Operand* op, Py_buffer* buffer, array, known, DType known_code) except -1:
    """Fill `op` and `buffer` and return True if the array is in normal form; else hold nothing and return False.

    `known_code` is the code of `known`: to find that of bfloat16 takes a quarter of a microsecond.
    """
    cdef int code
    if type(array) is not ndarray:
        return False
    dtype = array.dtype
    code = <int> known_code if dtype is known else code_of(dtype)
    if code < 0:
        return False
    # Typed memoryviews would take most of a small call's time: 0.22 us each, where a buffer takes 0.05.
    PyObject_GetBuffer(array, buffer, PyBUF_STRIDES)
    if not is_aligned(buffer):
        PyBuffer_Release(buffer)
        return False
    set_operand(op, buffer, <DType> code)
    return True


def is_normal(array):
    """Whether an operand is in normal form: an ndarray and no subclass, of one of the four dtypes, native, aligned."""
    cdef Operand op
    cdef Py_buffer buffer
    if not take(&op, &buffer, array, None, DType.FLOAT32):
        return False
    PyBuffer_Release(&buffer)
    return True


cdef object new_result(const Py_buffer* operands, first, second, dtype):
    """A new array in the memory order that the result of a ufunc would have."""
    cdef char order = order_of_result(&operands[0], &operands[1])
    if order == b"K":
        return empty_like(first, dtype)
    if order != 0:
        return empty(first.shape, dtype, "C" if order == b"C" else "F")
    arrays = [first] if second is first else [first, second]
    flags = [["readonly"]] * len(arrays) + [["writeonly", "allocate"]]
    dtypes = [*[a.dtype for a in arrays], dtype]
    iterator = numpy.nditer([*arrays, None], flags=["zerosize_ok"], op_flags=flags, op_dtypes=dtypes)
    return iterator.operands[len(arrays)]


cdef bint leaves_unread(const Py_buffer* buffers, const Operand* op, int i, array, out, DType out_dtype) except -1:
    """Whether writing to `out` never overwrites an element of operand i before it is read."""
    return (
        op.dtype == out_dtype and have_same_places(&buffers[i], &buffers[2])
        or are_far_apart(&buffers[i], &buffers[2])
        or not numpy.may_share_memory(array, out, max_work=1)
    )


cdef run_on_copies(Form form, first, second, AxisSet along, out, num_threads, threads_for, note_lost):
    """`run` along axes that are not one axis in memory: in copies they are, and `out` gets their result."""
    cdef int ndim = first.ndim, d
    order = [d for d in range(ndim) if not along >> d & 1]
    rows = (*[first.shape[d] for d in order], -1)
    order += [d for d in range(ndim) if along >> d & 1]
    turned = out.transpose(order)
    arrays = [first] if second is first else [first, second]
    as_rows = [array.transpose(order).reshape(rows) for array in arrays]        # copies, where there is no such view
    dtype, result = native(out.dtype), None
    for array, copy in zip(arrays, as_rows):
        if copy.dtype == dtype and not numpy.may_share_memory(array, copy):
            result = copy
    result = run(form, as_rows[0], as_rows[len(as_rows) - 1], -1, result, dtype, num_threads, threads_for, note_lost)
    numpy.copyto(turned, result.reshape(turned.shape))


def run(Form form, first, second, axis, out, dtype, num_threads, threads_for, note_lost):
    """Do a whole call if its arguments are in normal form; else do nothing and return None.

    `first` is diff_dst, and `second` src or dst; both are src with Form.LOG_SOFTMAX. In normal form an operand is as
    `is_normal` says, `out` None or an ndarray and no subclass, `dtype` None or a numpy.dtype, `axis` an int, a tuple of
    ints or None, and `num_threads` None or an int of at least 1. All else that can be wrong with a call is refused
    here.

    `threads_for` says on how many threads a number of elements is computed, `num_threads` at most. If there were
    several, `note_lost` gets the seconds that one thread would have saved (include/team_timer.hpp).
    """
    cdef Problem p
    cdef Py_buffer buffers[3]
    cdef DType code
    cdef bint brief
    cdef int held = 0, threads = 1, d
    cdef AxisSet along
    cdef Py_ssize_t count
    # From here on no method of an argument runs. An axis or num_threads of another type could run code.
    if not is_plain_axis(axis) or not (out is None or type(out) is ndarray):
        return None
    if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
        return None
    try:
        if not take(&p.diff_dst, &buffers[0], first, None, DType.FLOAT32):
            return None
        held = 1
        count = buffers[0].len // buffers[0].itemsize
        brief = count <= BRIEF
        if not brief or num_threads is not None:
            # Another thread of Python's can change an array while a long call computes, or while `threads_for` runs. So
            # a long call forbids to resize the arrays, and a brief call runs `threads_for` first. Then both look again.
            held = 0
            PyBuffer_Release(&buffers[0])
            if brief:
                threads = threads_for(count, num_threads)
            else:
                _held = hold(first), hold(second), hold(out)
            if not take(&p.diff_dst, &buffers[0], first, None, DType.FLOAT32):
                return None
            held = 1
            count = buffers[0].len // buffers[0].itemsize
            if brief and count > BRIEF:
                return None
        known = first.dtype
        if not take(&p.src, &buffers[1], second, known, p.diff_dst.dtype):
            return None
        held = 2

        if not have_same_shape(&buffers[0], &buffers[1]):
            names = "diff_dst and src" if form == Form.BACKWARD_SRC else "diff_dst and dst"
            raise ValueError(f"{names} must have the same shape; got {first.shape} and {second.shape}")
        find_axes(&along, axis, buffers[0].ndim)
        if dtype is None:
            # As np.result_type has it, which has no answer for bfloat16 with float16.
            if p.diff_dst.dtype == p.src.dtype:
                code, dtype = p.diff_dst.dtype, known
            elif p.diff_dst.dtype == DType.FLOAT64 or p.src.dtype == DType.FLOAT64:
                code, dtype = DType.FLOAT64, float64
            else:
                code, dtype = DType.FLOAT32, float32
        elif dtype is known:
            code = p.diff_dst.dtype
        else:
            code, dtype = <DType> native_code(dtype, "dtype is"), native(dtype)

        result, view = out, None
        if out is None:
            result = new_result(buffers, first, second, dtype)
        else:
            dtype = out.dtype
            code = p.diff_dst.dtype if dtype is known else <DType> native_code(dtype, "out has dtype")
            PyObject_GetBuffer(out, &buffers[2], PyBUF_STRIDES)
            held = 3
            if not have_same_shape(&buffers[2], &buffers[0]):
                raise ValueError(
                    f"out: non-broadcastable output operand with shape {out.shape} doesn't match the shape "
                    f"{first.shape}")
            # A buffer also calls an array read-only of which NumPy only warns that it shares memory.
            if buffers[2].readonly and not out.flags.writeable:
                raise ValueError("out: output array is read-only")
            if count > 0 and not (
                (dtype is known or dtype.isnative)
                and is_aligned(&buffers[2])
                and not may_overlap_itself(&buffers[2])
                and leaves_unread(buffers, &p.diff_dst, 0, first, out, code)
                and leaves_unread(buffers, &p.src, 1, second, out, code)
            ):
                held = 2
                PyBuffer_Release(&buffers[2])
                view = out.view(ndarray)        # keeps its shape whatever another thread does to `out`
                result = empty_like(view, native(dtype))
        if count == 0:
            return result
        if held == 2:
            PyObject_GetBuffer(result, &buffers[2], PyBUF_STRIDES)
            held = 3
        if not are_one_axis(buffers, along):
            run_on_copies(form, first, second, along, result if view is None else view, num_threads, threads_for,
                          note_lost)
            return result if view is None else out
        set_operand(&p.out, &buffers[2], code)
        p.form = form
        lay_out(&p, buffers, along)
        if not brief and (num_threads is not None or count >= 2 * ELEMENTS_PER_THREAD):     # else it could only be 1
            threads = threads_for(count, num_threads)
        walk(&p, threads, note_lost)
        if view is not None:
            numpy.copyto(view, result)
        return result if view is None else out
    finally:
        for d in range(held):
            PyBuffer_Release(&buffers[d])


include "_inspect.pxi"
include "_partials.pxi"


def set_caches(Py_ssize_t ahead_from, Py_ssize_t far_from, Py_ssize_t stage):
    """What of the plan depends on the caches (include/caches.hpp). No call may run meanwhile."""
    caches.ahead_from, caches.far_from, caches.stage = ahead_from, far_from, min(stage, <Py_ssize_t> STAGE)


def openmp_threads():
    """Whether the caller is in a parallel region of OpenMP, and the threads that one would take."""
    return openmp_in_parallel(), openmp_max_threads()


def processors():
    """Those in the affinity mask; 0 if OpenMP does not say."""
    return openmp_processors()


def supports(level):
    """Whether this processor can run the kernels of an instruction-set level."""
    return bool(cpu_supports(level.encode()))


def build_info():
    """How this module was compiled."""
    library = openmp_library()
    return {
        "compiler": FASTLSM_COMPILER.decode(),
        "openmp": FASTLSM_OPENMP,
        "openmp_library": library.decode() if library != NULL else None,
    }
