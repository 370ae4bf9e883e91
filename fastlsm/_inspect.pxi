# How a call would be computed, for tests and for people. A part of _kernels.pyx.

def layout(diff_dst, src, out, axis):
    """How `run` goes along three arrays of one shape, without a 0 in it: extents, strides, loops.

    `axis` is what `run` takes, or None is returned where several axes are not one in memory.

    Extents and strides are those of the axes (outer, n, inner), the strides for each array. A loop is a further axis:
    its extent, and its strides in each array. tests/test_layouts.py has examples.
    """
    cdef Problem p
    cdef Py_buffer buffers[3]
    cdef AxisSet along
    cdef int held = 0, d
    try:
        for array in (diff_dst, src, out):
            PyObject_GetBuffer(array, &buffers[held], PyBUF_STRIDES)
            held += 1
            if not have_same_shape(&buffers[held - 1], &buffers[0]):
                raise ValueError("the arrays need one shape")
        find_axes(&along, axis, buffers[0].ndim)
        if not are_one_axis(buffers, along):
            return None
        lay_out(&p, buffers, along)
    finally:
        for d in range(held):
            PyBuffer_Release(&buffers[d])
    strides = [(p.diff_dst.outer, p.diff_dst.n, p.diff_dst.inner), (p.src.outer, p.src.n, p.src.inner),
               (p.out.outer, p.out.n, p.out.inner)]
    loops = [(p.loops[d], (p.diff_dst.loops[d], p.src.loops[d], p.out.loops[d])) for d in range(p.ndim)]
    return (p.outer, p.n, p.inner), strides, loops


def plan(Form form, diff_dst, src, out, int axis, int threads=1):
    """How `walk` would compute a call on three arrays of one shape, without a 0 in it: the plan, as a dictionary.

    `python tests/plans.py` prints the plans of a grid of shapes.
    """
    cdef Problem p
    cdef Plan plan
    cdef Operand* operands[3]
    cdef Py_buffer buffers[3]
    cdef AxisSet along
    cdef int held = 0, d
    operands[:] = [&p.diff_dst, &p.src, &p.out]
    try:
        for array in (diff_dst, src, out):
            if not take(operands[held], &buffers[held], array, None, DType.FLOAT32):
                raise TypeError("the arrays must be in normal form")
            held += 1
            if not have_same_shape(&buffers[held - 1], &buffers[0]):
                raise ValueError("the arrays need one shape")
        find_axes(&along, axis, buffers[0].ndim)
        p.form = form
        lay_out(&p, buffers, along)
    finally:
        for d in range(held):
            PyBuffer_Release(&buffers[d])
    plan = plan_for(&p, threads, False)
    return {
        "walk": ("rows", "batches", "flat rows", "columns", "interleaved", "tall")[<int> plan.walk],
        "arithmetic": "float64" if plan.in_double else "float32",
        "format": format_name(plan.format).decode(),
        "count": plan.count,
        "together": plan.together,
        "threads": plan.threads,
        "ahead": bool(plan.ahead),
        "reads next": bool(plan.reads_next),
        "exchanged": bool(plan.exchanged),
        "near": bool(plan.near),
        "streamed": bool(plan.streamed),
        "few": bool(plan.few),
        "wide": bool(plan.wide),
    }
