"""The public functions: they bring what they are given to the form that the kernels take."""

from fastlsm._arguments import array_of, axes_of, check_out, dtype_of, operands_of, plain_view
from fastlsm._runtime import kernels
from fastlsm._threads import checked_num_threads, note_lost, threads_for

_LOG_SOFTMAX = kernels.FORMS["LOG_SOFTMAX"]
_BACKWARD_SRC = kernels.FORMS["BACKWARD_SRC"]
_BACKWARD_DST = kernels.FORMS["BACKWARD_DST"]


def log_softmax(src, axis=-1, *, out=None, dtype=None, num_threads=None):
    """Logarithm of the softmax along an axis, or along several.

    As a formula::

        dst = src - max(src) - log(sum(exp(src - max(src))))

    Parameters
    ----------
    src : array_like
        The logits: float32, bfloat16 (ml_dtypes'), float16 or float64, of any
        shape, strides and memory order, without a copy. Integers, bools and
        lists of Python's numbers are taken as float64; these are copied, as
        byte-swapped and unaligned arrays are. A masked array is taken if
        nothing in it is masked.
    axis : int, tuple of ints or None, default -1
        The axis along which the exponentials sum to one, in [-ndim, ndim).
        With several axes they do along all of these together, with None along
        all that there are, also of a 0-d array. With an empty tuple each
        element is a row of its own. Several axes cost a copy of each array,
        `out` too, in which they are not one axis in memory, as neighbouring
        axes of an array in C order are.
    out : ndarray, optional
        Where the result goes: of `src`'s shape and any of the four dtypes. It
        may be `src`. If it overlaps `src` otherwise, or is byte-swapped or
        unaligned, the result goes through a temporary array.
    dtype : dtype, optional
        The result's dtype where `out` is not given; by default `src`'s. Byte
        order is always native.
    num_threads : int, optional
        At most so many threads; by default `get_num_threads` of them. The
        result does not depend on it.

    Returns
    -------
    ndarray
        `out`, or a new array of `src`'s shape and memory order.

    Raises
    ------
    TypeError
        If `src` is None, has masked elements or another dtype; if `axis` is
        neither an integer, nor several, nor None; if `num_threads` is not an
        integer; if `out` is not an array, or `out` or `dtype` of another
        dtype.
    ValueError
        If `out` is read-only or has another shape, if `axis` names an axis
        twice, or if `num_threads` is below 1.
    numpy.exceptions.AxisError
        If `axis` is out of bounds, as any integer is for a 0-d `src`.
    KeyboardInterrupt
        Or what else a signal's handler raises during a long call; `out` is
        then partly written.

    See Also
    --------
    log_softmax_backward : Its gradient.

    Notes
    -----
    The result is within 2 units in its last place (float32, float64) or 0.51
    (bfloat16, float16) of the exact one for `src` as stored, also where one
    class holds nearly all of the mass and the result is as small as -1e-30:
    the exponentials below the largest are summed apart from it and go through
    log1p. The arithmetic is float64 where `src` or the result is, else float32
    with float64 sums.

    A row's result depends on that row alone, to the bit: not on its
    neighbours, the memory layout, the number of threads or (past x86-64's
    baseline) the instruction set.

    -inf in `src` gives -inf there. NaN or +inf anywhere in a row, and a row of
    nothing but -inf, make the whole row NaN. An empty array gives an empty
    array.

    References
    ----------
    .. [1] oneDNN Graph operation LogSoftmax,
       https://uxlfoundation.github.io/oneDNN/dev_guide_op_logsoftmax.html

    Examples
    --------
    >>> import numpy as np
    >>> import fastlsm
    >>> fastlsm.log_softmax(np.array([[0.0, 0.0], [0.0, -np.inf]]))
    array([[-0.69314718, -0.69314718],
           [ 0.        ,        -inf]])
    """
    dtype = None if dtype is None else dtype_of(dtype)
    result = kernels.run(_LOG_SOFTMAX, src, src, axis, out, dtype, num_threads, threads_for, note_lost)
    if result is not None:
        return result
    return _convert_and_run(_LOG_SOFTMAX, {"src": src}, axis, out, dtype, num_threads)


def log_softmax_backward(diff_dst, src=None, axis=-1, *, dst=None, out=None, dtype=None, num_threads=None):
    """Gradient of `log_softmax` with respect to its argument.

    From the forward's result, which is the fast form::

        diff_src = diff_dst - exp(dst) * sum(diff_dst)

    From the forward's argument, which is normalised here::

        diff_src = diff_dst - softmax(src) * sum(diff_dst)

    Parameters
    ----------
    diff_dst : array_like
        The gradient with respect to the forward's result: float32, bfloat16
        (ml_dtypes'), float16 or float64, of any shape, strides and memory
        order, without a copy. Integers and bools become `np.result_type` of
        their dtype and the other operand's, or float64 if neither operand has
        floats. They are copied, as byte-swapped and unaligned arrays are. A
        masked array is taken if nothing in it is masked.
    src : array_like, optional
        What `log_softmax` was given, of `diff_dst`'s shape. What it returned
        is right, too: normalising twice changes no more than the last bits.
    axis : int, tuple of ints or None, default -1
        The axis or axes along which `log_softmax` was taken.
    dst : array_like, optional
        What `log_softmax` returned, of `diff_dst`'s shape. exp(dst) is taken
        as it is, normalised or not. Exactly one of `src` and `dst` is given.
    out : ndarray, optional
        Where the result goes: of the same shape and any of the four dtypes. It
        may be one of the operands. If it overlaps one otherwise, or is
        byte-swapped or unaligned, the result goes through a temporary array.
    dtype : dtype, optional
        The result's dtype where `out` is not given; by default the operands'
        common one (for bfloat16 with float16, float32).
    num_threads : int, optional
        At most so many threads; by default `get_num_threads` of them. The
        result does not depend on it.

    Returns
    -------
    ndarray
        `diff_src`: `out`, or a new array of the operands' shape and memory
        order.

    Raises
    ------
    TypeError
        If both or neither of `src` and `dst` are given; if `diff_dst` is None;
        if an operand has masked elements or another dtype; if `axis` is
        neither an integer, nor several, nor None; if `num_threads` is not an
        integer; if `out` is not an array, or `out` or `dtype` of another dtype.
    ValueError
        If the operands' shapes differ (nothing is broadcast), if `out` is
        read-only or has another shape, if `axis` names an axis twice, or if
        `num_threads` is below 1.
    numpy.exceptions.AxisError
        If `axis` is out of bounds, as any integer is for 0-d operands.
    KeyboardInterrupt
        Or what else a signal's handler raises during a long call; `out` is
        then partly written.

    See Also
    --------
    log_softmax : The forward.

    Notes
    -----
    With p the softmax and S the sum of diff_dst, the gradient is both diff_dst
    - p * S and diff_dst * (1 - p) - p * (S - diff_dst). The error is at most 2
    (float32, float64) or 0.51 (bfloat16, float16) units in the last place of
    max(abs(diff_src), abs(diff_dst), abs(p * S)) or of max(abs(diff_src),
    abs(diff_dst * (1 - p)), abs(p * (S - diff_dst))), whichever is smaller. So
    where one class has nearly all the mass, and 1 - p is tiny, its gradient is
    right too: where diff_dst is 0 but for one right label, each element is
    right to its own last two units.

    Beside the bound is what the sum of diff_dst itself may lose: p times
    2**-48 of the sum of abs(diff_dst), or 2**-96 of it where the arithmetic is
    float64. (In rows of 1,000 to a million elements that are no float64, it is
    up to 2**-43, if nearly all additions are rounded the same way.) Softmax
    below the arithmetic's smallest normal number may count as 0.

    The operands count as stored. The arithmetic is float64 where an operand or
    the result is, else float32 with float64 sums.

    A row's result depends on that row alone, to the bit: not on its
    neighbours, the memory layout, the number of threads or (past x86-64's
    baseline) the instruction set.

    NaN in `diff_dst`, in `src`, +inf in `src`, or a `src` of nothing but -inf
    makes the whole row NaN; NaN in `dst` only its own place. Where `src` or
    `dst` is -inf, the result is `diff_dst`. Infinities in `diff_dst` and
    float64 sums past the largest float64 go as IEEE arithmetic has it; a sum
    that is finite is right, though its parts may not be. An empty array gives
    an empty array.

    The operation is oneDNN Graph's LogSoftmaxBackward. Its second tensor is
    called src in one version of its page and dst in others, hence the two
    names here [1]_.

    References
    ----------
    .. [1] oneDNN Graph operation LogSoftmaxBackward,
       https://uxlfoundation.github.io/oneDNN/dev_guide_op_logsoftmaxbackward.html

    Examples
    --------
    >>> import numpy as np
    >>> import fastlsm
    >>> src = np.array([[1.0, 2.0, 3.0]])
    >>> diff_dst = np.array([[0.0, 0.0, -1.0]])  # of -log p of the third class
    >>> fastlsm.log_softmax_backward(diff_dst, src)
    array([[ 0.09003057,  0.24472847, -0.33475904]])
    >>> dst = fastlsm.log_softmax(src)
    >>> fastlsm.log_softmax_backward(diff_dst, dst=dst)
    array([[ 0.09003057,  0.24472847, -0.33475904]])

    The cross-entropy of labels, as a mean over rows. Its gradient with respect
    to `dst` is -1 / rows at each row's label, and 0 elsewhere:

    >>> src = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])[:, np.newaxis]
    >>> dst = fastlsm.log_softmax(src)
    >>> round(float(-np.take_along_axis(dst, labels, axis=-1).mean()), 6)
    0.753109
    >>> diff_dst = np.zeros_like(dst)
    >>> np.put_along_axis(diff_dst, labels, -1 / len(labels), axis=-1)
    >>> fastlsm.log_softmax_backward(diff_dst, dst=dst)
    array([[ 0.04501529,  0.12236424, -0.16737952],
           [-0.33333333,  0.16666667,  0.16666667]])
    """
    if (src is None) == (dst is None):
        raise neither_or_both(src, dst)
    form, name, second = (_BACKWARD_SRC, "src", src) if dst is None else (_BACKWARD_DST, "dst", dst)
    dtype = None if dtype is None else dtype_of(dtype)
    result = kernels.run(form, diff_dst, second, axis, out, dtype, num_threads, threads_for, note_lost)
    if result is not None:
        return result
    return _convert_and_run(form, {"diff_dst": diff_dst, name: second}, axis, out, dtype, num_threads)


def neither_or_both(src, dst):
    """The error where exactly one of the two is to be given."""
    hint = "; is src the axis? beside 'dst' that has to be given by name" if isinstance(src, (int, tuple)) else ""
    return TypeError(
        "log_softmax_backward() takes exactly one of 'src' (what log_softmax was given) and 'dst' (what it "
        f"returned); {'neither' if src is None else 'both'} given{hint}"
    )


def _convert_and_run(form, named, axis, out, dtype, num_threads):
    """A call that `kernels.run` declines as it is: brought to normal form, which it takes; `named` are the operands."""
    # The arguments' own code (__array__, __index__) may change any array, so it runs first. After that, views that are
    # nobody else's, of memory that stays, are what is checked and computed on.
    arrays = {name: array_of(x, name) for name, x in named.items()}
    axis = axes_of(axis)
    num_threads = checked_num_threads(num_threads)
    if out is not None:
        check_out(out)
    _held = [kernels.hold(a) for a in (*arrays.values(), out)]
    views = {name: plain_view(a) for name, a in arrays.items()}
    refuse_labels(views)
    operands = operands_of(views)
    view = None if out is None else plain_view(out)
    result = kernels.run(form, operands[0], operands[-1], axis, view, dtype, num_threads, threads_for, note_lost)
    return result if out is None else out


def refuse_labels(operands):
    """Refuse integers where the gradient should be, of one axis less than the other operand."""
    names = list(operands)
    first, last = operands[names[0]], operands[names[-1]]
    if first.dtype.kind in "iu" and first.ndim == last.ndim - 1:
        raise ValueError(
            f"diff_dst and {names[-1]} must have the same shape; got {first.shape} and {last.shape}. If diff_dst "
            "holds labels: it must be the loss's gradient, which help(fastlsm.log_softmax_backward) makes from labels"
        )
