# The kernels' entry points for rows in chunks, which fastlsm/partials.py has for everybody. A part of _kernels.pyx.

def parts_of(Py_ssize_t n):
    """How many partials a chunk of n elements of a row is reduced to."""
    return blocks(n, part_length(n))


cdef int work_on_rows(Job job, Form form, tuple arrays, bint in_double, partials, int threads,
                      note_lost) except -1:
    """`arrays` are diff_dst, src and out, in normal form, of one shape without a 0, with rows along the last axis."""
    cdef Problem p
    cdef Operand* operands[3]
    cdef Py_buffer buffers[4]
    cdef int held = 0, d
    operands[:] = [&p.diff_dst, &p.src, &p.out]
    try:
        for array in arrays:
            if not take(operands[held], &buffers[held], array, None, DType.FLOAT32):
                raise TypeError("the arrays must be in normal form")
            held += 1
        PyObject_GetBuffer(partials, &buffers[held], PyBUF_C_CONTIGUOUS)
        held += 1
        lay_out_rows(&p, buffers)
        p.form = form
        if job != Job.FINISH and in_double:
            p.out.dtype = DType.FLOAT64         # which decides on the arithmetic; nothing is written there
        walk(&p, threads, note_lost, <Partial*> buffers[held - 1].buf, job)
    finally:
        for d in range(held):
            PyBuffer_Release(&buffers[d])
    return 0


def reduce_src(src, bint in_double, partials, int threads, note_lost):
    """Set, of each part of each row, in C order, the maximum, the ties and the others' exp."""
    work_on_rows(Job.REDUCE_SRC, Form.LOG_SOFTMAX, (src, src, src), in_double, partials, threads, note_lost)


def reduce_diff_dst(diff_dst, bint in_double, partials, int threads, note_lost):
    """Set, of each part of each row, in C order, the sum."""
    work_on_rows(Job.REDUCE_DIFF_DST, Form.BACKWARD_DST, (diff_dst,) * 3, in_double, partials, threads, note_lost)


def finish(Form form, diff_dst, src, out, totals, int threads, note_lost):
    """Set `out`, given the totals of each row, in C order."""
    work_on_rows(Job.FINISH, form, (diff_dst, src, out), False, totals, threads, note_lost)


def combine(partials, to):
    """Combine adjacent partials, equally many for each element of `to`, which has some."""
    cdef Py_buffer source, target
    cdef Py_ssize_t rows = to.size, count = partials.size // to.size
    PyObject_GetBuffer(partials, &source, PyBUF_C_CONTIGUOUS)
    PyObject_GetBuffer(to, &target, PyBUF_C_CONTIGUOUS)
    with nogil:
        combine_partials(<Partial*> target.buf, <const Partial*> source.buf, rows, count)
    PyBuffer_Release(&source)
    PyBuffer_Release(&target)
