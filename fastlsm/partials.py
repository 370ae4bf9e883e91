"""Rows in chunks: what a chunk adds to its rows, and the last step, for any engine that moves arrays.

Where a row's classes lie in several chunks (in processes, on machines, in a file), each chunk is gone over twice:

1. `reduce_chunk` makes a `PARTIAL` of each row. `combine` makes those of several chunks one, in any order and in any
   tree, at last the totals of the whole rows.
2. `log_softmax` and `log_softmax_backward` are given the totals and a chunk, and compute this chunk of the result.

Only partials travel. `fastlsm.dask` does it for Dask's arrays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlsm._api import neither_or_both, refuse_labels
from fastlsm._arguments import array_of, axes_of, check_out, dtype_of, operands_of, plain_view
from fastlsm._runtime import kernels
from fastlsm._threads import checked_num_threads, note_lost, threads_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["PARTIAL", "combine", "log_softmax", "log_softmax_backward", "reduce_chunk"]

# include/partials.hpp has the same fields.
PARTIAL = np.dtype([(name, np.float64) for name in ("max", "ties", "others", "others_low", "sum", "sum_low", "unit")])

_NOTHING_SEEN = np.array((-np.inf, 0, 0, 0, 0, 0, 1), PARTIAL)


def reduce_chunk(
    src: ArrayLike | None = None,
    axis: SupportsIndex | Sequence[SupportsIndex] | None = -1,
    *,
    diff_dst: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]:
    """Reduce a chunk of rows to what other chunks need to know of it.

    As formulas, with m = max(src)::

        max     m
        ties    how many elements of src are m
        others  sum(exp(src - m)) over src < m, as others + others_low
        sum     sum(diff_dst), as (sum + sum_low) * unit

    Parameters
    ----------
    src : array_like, optional
        A chunk of `log_softmax`'s argument, of the dtypes that
        `fastlsm.log_softmax` takes. The dst form needs none.
    axis : int, tuple of ints or None, default -1
        The softmax's axis or axes.
    diff_dst : array_like, optional
        A chunk of the gradient with respect to `log_softmax`'s result. Needed
        for the gradient alone.
    dtype : dtype, optional
        The dtype of the last step's result. Where it is float64, or that of an
        operand is, the arithmetic is float64.
    num_threads : int, optional
        As of `fastlsm.log_softmax`.

    Returns
    -------
    ndarray of PARTIAL
        One element for each row: of the chunk's shape, but 1 along `axis`.
        `unit` is 1, or 2**128 where the sum of a chunk's float64 may be past
        the range though that of the row is not.

    Raises
    ------
    TypeError
        If neither `src` nor `diff_dst` is given, or as by
        `fastlsm.log_softmax`.
    ValueError, numpy.exceptions.AxisError
        As by `fastlsm.log_softmax_backward`.

    Notes
    -----
    A NaN makes `others` NaN, or `sum`. Elements of -inf add nothing: of
    nothing else, as of no elements, the maximum is -inf, without ties.

    The bits of a partial depend on the chunk's row alone, as those of a result
    do. `src` is read from memory once: a part of at most 16,384 elements of a
    row (of a very long row 1/64 of it) stays in the caches for the two passes
    that it takes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlsm import partials
    >>> partials.reduce_chunk(np.array([[3.0, 3.0, -np.inf]]))["ties"]
    array([[2.]])
    """
    named = {name: x for name, x in {"diff_dst": diff_dst, "src": src}.items() if x is not None}
    if not named:
        raise TypeError("reduce_chunk() takes at least one of 'src' and 'diff_dst'; neither given")
    operands, axis, dtype, threads, _held = _normal("BACKWARD_SRC", named, axis, dtype, num_threads)
    in_double = np.float64 in (dtype, *(x.dtype for x in operands))
    shape = tuple(1 if d in axis else extent for d, extent in enumerate(operands[0].shape))
    rows = dict(zip(named, (_as_rows(x, axis) for x in operands), strict=True))
    n = rows[next(iter(rows))].shape[-1]
    if operands[0].size == 0:
        return np.full(shape, _NOTHING_SEEN)
    partials = np.full((*shape, kernels.parts_of(n)), _NOTHING_SEEN)
    if "src" in rows:
        kernels.reduce_src(rows["src"], in_double, partials, threads, note_lost)
    if "diff_dst" in rows:
        kernels.reduce_diff_dst(rows["diff_dst"], in_double, partials, threads, note_lost)
    partials = combine(partials).reshape(shape)
    partials["max"] += 0.0  # of 0 and -0, walks of different orders find either
    return partials


def combine(partials: NDArray[Any], axis: SupportsIndex | Sequence[SupportsIndex] | None = -1) -> NDArray[Any]:
    """Make the partials of several chunks one, along an axis or several.

    As formulas, for two of which the first has the larger maximum (m > m')::

        max     m
        ties    ties
        others  others + (ties' + others') * exp(m' - m)
        sum     sum + sum'

    Where m' = m, `ties` and `others` are just added.

    Parameters
    ----------
    partials : ndarray of PARTIAL
        Results of `reduce_chunk` and of `combine`, stacked or concatenated.
    axis : int, tuple of ints or None, default -1
        The axis along which they are combined.

    Returns
    -------
    ndarray of PARTIAL
        Of the shape of `partials`, but 1 along `axis`.

    Raises
    ------
    TypeError
        If `partials` is not an array of ``PARTIAL``.
    ValueError, numpy.exceptions.AxisError
        As by `fastlsm.log_softmax`.

    Notes
    -----
    Sums and exp(m' - m) are kept as two float64 each. A combination loses some
    2**-56 of `others`, and 2**-100 of the sum. So results stay within the
    bounds of `fastlsm.log_softmax` in any order and any tree of thousands of
    combinations; other orders may give other last bits. Along an axis the
    order is that of the elements.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlsm import partials
    >>> chunks = np.split(np.array([[3.0, 1.0, 2.0, 5.0]]), 2, axis=-1)
    >>> reduced = [partials.reduce_chunk(chunk) for chunk in chunks]
    >>> totals = partials.combine(np.concatenate(reduced, axis=-1))
    >>> totals["max"], totals["others"].round(6)
    (array([[5.]]), array([[0.203438]]))
    """
    _check_partials(partials, "partials")
    axis = _normal_axes(axis, partials.ndim)
    rows = np.ascontiguousarray(_as_rows(partials, axis))
    result = np.empty([1 if d in axis else extent for d, extent in enumerate(partials.shape)], PARTIAL)
    if result.size:
        kernels.combine(rows, result)
    return result


def log_softmax(
    src: ArrayLike,
    axis: SupportsIndex | Sequence[SupportsIndex] | None = -1,
    *,
    totals: NDArray[Any],
    out: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]:
    """Logarithm of the softmax of a chunk, given the totals of its rows.

    As a formula::

        dst = src - max - log1p(others + (ties - 1))

    Parameters
    ----------
    src : array_like
        A chunk, as for `fastlsm.log_softmax`.
    axis : int, tuple of ints or None, default -1
        The axis or axes along which the exponentials sum to one.
    totals : ndarray of PARTIAL
        Of each row, what `combine` makes of the partials of all its chunks: of
        the chunk's shape, but 1 along `axis`.
    out : ndarray, optional
        Where the chunk of the result goes, as of `fastlsm.log_softmax`.
    dtype : dtype, optional
        The result's dtype where `out` is not given; by default `src`'s.
    num_threads : int, optional
        As of `fastlsm.log_softmax`.

    Returns
    -------
    ndarray
        This chunk of what `fastlsm.log_softmax` computes, within the same
        bounds.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As by `fastlsm.log_softmax`, and where `totals` is not an array of
        ``PARTIAL``, or of another shape.

    Notes
    -----
    The chunks must have been reduced with the same dtypes of operands and
    result, so that the arithmetic is the same.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlsm import partials
    >>> chunks = np.split(np.array([[0.0, -np.inf, 1.0, 2.0]]), 2, axis=-1)
    >>> reduced = [partials.reduce_chunk(chunk) for chunk in chunks]
    >>> totals = partials.combine(np.concatenate(reduced, axis=-1))
    >>> partials.log_softmax(chunks[1], totals=totals).round(6)
    array([[-1.407606, -0.407606]])
    """
    return _finish("LOG_SOFTMAX", {"src": src}, axis, totals, out, dtype, num_threads)


def log_softmax_backward(
    diff_dst: ArrayLike,
    src: ArrayLike | None = None,
    axis: SupportsIndex | Sequence[SupportsIndex] | None = -1,
    *,
    dst: ArrayLike | None = None,
    totals: NDArray[Any],
    out: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]:
    """Gradient of `log_softmax` in a chunk, given the totals of its rows.

    As formulas::

        diff_src = diff_dst - exp(dst) * sum                    the dst form
        diff_src = diff_dst - exp(src - max) * sum / (ties + others)
                                                                the src form

    Parameters
    ----------
    diff_dst : array_like
        A chunk of the gradient with respect to `log_softmax`'s result.
    src : array_like, optional
        A chunk of what `log_softmax` was given.
    axis : int, tuple of ints or None, default -1
        The forward's axis or axes.
    dst : array_like, optional
        In place of `src`, a chunk of what `log_softmax` returned.
    totals : ndarray of PARTIAL
        Of each row, what `combine` makes of the partials of all its chunks: of
        the chunk's shape, but 1 along `axis`. For the src form, `reduce_chunk`
        was given `src` and `diff_dst`; for the dst form `diff_dst` is enough.
    out : ndarray, optional
        Where the chunk of the result goes, as of
        `fastlsm.log_softmax_backward`.
    dtype : dtype, optional
        The result's dtype where `out` is not given; by default the operands'
        common one.
    num_threads : int, optional
        As of `fastlsm.log_softmax_backward`.

    Returns
    -------
    ndarray
        This chunk of what `fastlsm.log_softmax_backward` computes, within the
        same bounds.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As by `fastlsm.log_softmax_backward`, and where `totals` is not an
        array of ``PARTIAL``, or of another shape.

    Notes
    -----
    The chunks must have been reduced with the same dtypes of operands and
    result, so that the arithmetic is the same. Where `dst` or `dtype` is
    float64 and `diff_dst` is not, `reduce_chunk` is given
    ``dtype=np.float64``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlsm import partials
    >>> src = np.array([[1.0, 2.0, 3.0]])
    >>> diff_dst = np.array([[0.0, 0.0, -1.0]])
    >>> totals = partials.reduce_chunk(src, diff_dst=diff_dst)
    >>> some = slice(0, 2)
    >>> partials.log_softmax_backward(
    ...     diff_dst[:, some], src[:, some], totals=totals
    ... ).round(6)
    array([[0.090031, 0.244728]])
    """
    if (src is None) == (dst is None):
        raise neither_or_both(src, dst)
    form, name, second = ("BACKWARD_SRC", "src", src) if dst is None else ("BACKWARD_DST", "dst", dst)
    return _finish(form, {"diff_dst": diff_dst, name: second}, axis, totals, out, dtype, num_threads)


def _finish(
    form: str, named: dict[str, Any], axis: Any, totals: Any, out: Any, dtype: Any, num_threads: Any
) -> NDArray[Any]:
    _check_partials(totals, "totals")
    if out is not None:
        check_out(out)
        if dtype is not None:
            kernels.native_code(dtype_of(dtype), "dtype is")
        kernels.native_code(out.dtype, "out has dtype")
        dtype = out.dtype
    operands, axes, dtype, threads, _held = _normal(form, named, axis, dtype, num_threads)
    expected = tuple(1 if d in axes else extent for d, extent in enumerate(operands[0].shape))
    if totals.shape != expected:
        raise ValueError(f"totals must have the operands' shape, but 1 along the axis: {expected}; got {totals.shape}")
    result = np.empty_like(operands[0], dtype) if out is None else _target(out, operands)
    if result.size:
        rows = [_as_rows(x, axes) for x in operands]
        target = _as_rows(result, axes)  # a copy, where there is no such view
        of_rows = np.ascontiguousarray(_as_rows(totals, axes))
        kernels.finish(kernels.FORMS[form], rows[0], rows[-1], target, of_rows, threads, note_lost)
        if not np.may_share_memory(target, result):
            turned = result.transpose(_axes_last(result.ndim, axes))
            np.copyto(turned, target.reshape(turned.shape))
    if out is None:
        return result
    if not np.may_share_memory(result, out):
        np.copyto(plain_view(out), result)
    return out


def _normal(
    form: str, named: dict[str, Any], axis: Any, dtype: Any, num_threads: Any
) -> tuple[list[NDArray[Any]], tuple[int, ...], np.dtype[Any], int, list[Any]]:
    """Operands in normal form, axes from 0 on, the result's dtype, the threads; and what keeps others from resizing.

    What is wrong is refused as the whole call would be.
    """
    arrays = {name: array_of(x, name) for name, x in named.items()}
    axis = axes_of(axis)
    dtype = None if dtype is None else dtype_of(dtype)
    num_threads = checked_num_threads(num_threads)
    held = [kernels.hold(x) for x in arrays.values()]
    views = {name: plain_view(x) for name, x in arrays.items()}
    refuse_labels(views)
    first, last = views[next(iter(views))], views[next(reversed(views))]
    if first.shape != last.shape:
        raise ValueError(f"{' and '.join(views)} must have the same shape; got {first.shape} and {last.shape}")
    operands = operands_of(views)
    empty = [np.zeros((0,) * x.ndim, x.dtype) for x in operands]
    dtype = kernels.run(kernels.FORMS[form], empty[0], empty[-1], axis, None, dtype, None, threads_for, note_lost).dtype
    return operands, _normal_axes(axis, first.ndim), dtype, threads_for(first.size, num_threads), held


def _normal_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes from 0 on, in ascending order; refused as `fastlsm.log_softmax` refuses them."""
    axis = axes_of(axis)
    empty = np.zeros((0,) * ndim)
    kernels.run(kernels.FORMS["LOG_SOFTMAX"], empty, empty, axis, None, None, None, threads_for, note_lost)
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))))


def _axes_last(ndim: int, axes: tuple[int, ...]) -> list[int]:
    return [*(d for d in range(ndim) if d not in axes), *axes]


def _as_rows(x: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """The array with its rows along the last axis, and the others before it in their order."""
    turned = x.transpose(_axes_last(x.ndim, axes))
    others = turned.shape[: x.ndim - len(axes)]
    return turned.reshape(*others, math.prod(turned.shape[len(others) :]))


def _check_partials(x: Any, name: str) -> None:
    if not isinstance(x, np.ndarray) or x.dtype != PARTIAL:
        got = f"dtype {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{name} must be an array of fastlsm.partials.PARTIAL; got {got}")


def _target(out: NDArray[Any], operands: list[NDArray[Any]]) -> NDArray[Any]:
    """`out`, or an array in its place where the kernels cannot write to it, or would overwrite what they still read."""
    view = plain_view(out)
    if view.shape != operands[0].shape:
        raise ValueError(
            f"out: non-broadcastable output operand with shape {view.shape} doesn't match the shape {operands[0].shape}"
        )
    if not view.flags.writeable:
        raise ValueError("out: output array is read-only")

    def leaves_unread(x: NDArray[Any]) -> bool:
        same = (x.ctypes.data, x.strides, x.dtype) == (view.ctypes.data, view.strides, view.dtype)
        return same or not np.may_share_memory(x, view)

    is_direct = kernels.is_normal(view) and 0 not in view.strides and all(map(leaves_unread, operands))
    return view if is_direct else np.empty_like(view, view.dtype.newbyteorder("="))
