"""Log-softmax and its gradient for Dask's arrays: lazy, chunk by chunk, the softmax axis included.

The extra ``dask`` installs Dask, in a clone by ``pip install '.[dask]'``. `import fastlsm` alone never imports it.

Along one chunk, rows are computed by `fastlsm.log_softmax` itself. Where the softmax axis has several chunks, each is
gone over twice, as `fastlsm.partials` does it: the chunks themselves are never gathered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dask.array as da  # type: ignore[import-not-found,unused-ignore]
import numpy as np
from dask.array.core import unify_chunks  # type: ignore[import-not-found,unused-ignore]
from dask.array.reductions import _tree_reduce  # type: ignore[import-not-found,unused-ignore]

import fastlsm
from fastlsm import partials
from fastlsm._api import neither_or_both, refuse_labels
from fastlsm._arguments import axes_of, count_or_none, dtype_of
from fastlsm._threads import checked_num_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from numpy.typing import DTypeLike

__all__ = ["log_softmax", "log_softmax_backward"]


def log_softmax(
    src: da.Array,
    axis: SupportsIndex | Sequence[SupportsIndex] | None = -1,
    *,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
    split_every: int | None = None,
) -> da.Array:
    """Logarithm of the softmax of a Dask array along an axis, or along several.

    As a formula::

        dst = src - max(src) - log(sum(exp(src - max(src))))

    Parameters
    ----------
    src : dask.array.Array
        The logits, of known chunk sizes, of the dtypes that
        `fastlsm.log_softmax` takes.
    axis : int, tuple of ints or None, default -1
        As of `fastlsm.log_softmax`. There may be several chunks along it.
    dtype : dtype, optional
        The result's dtype; by default `src`'s.
    num_threads : int, optional
        At most so many threads for each chunk, and no more than
        `fastlsm.get_num_threads` where the chunk is computed. By default one:
        Dask's workers are the threads.
    split_every : int, optional
        How many chunks' partials one task combines, as of
        ``dask.array.reduction``.

    Returns
    -------
    dask.array.Array
        Of `src`'s shape and chunks. Nothing has been computed.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As by `fastlsm.log_softmax`, at once; also if `src` is no Dask array of
        NumPy arrays, or of unknown chunk sizes. What goes wrong in a chunk is
        raised when that is computed, with the chunk's place.

    See Also
    --------
    fastlsm.log_softmax : For NumPy arrays; what it says of accuracy and special
        values holds here too.

    Notes
    -----
    For given chunks the bits are the same under every scheduler, on any number
    of workers. Where `axis` has one chunk, they are those of
    `fastlsm.log_softmax`.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastlsm.dask
    >>> src = da.ones((4, 6), chunks=(2, 3))
    >>> dst = fastlsm.dask.log_softmax(src)
    >>> dst.shape, dst.dtype, dst.chunksize
    ((4, 6), dtype('float64'), (2, 3))
    >>> dst[0, :2].compute().round(6)
    array([-1.791759, -1.791759])
    """
    return _call("LOG_SOFTMAX", {"src": src}, axis, dtype, num_threads, split_every)


def log_softmax_backward(
    diff_dst: da.Array,
    src: da.Array | None = None,
    axis: SupportsIndex | Sequence[SupportsIndex] | None = -1,
    *,
    dst: da.Array | None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
    split_every: int | None = None,
) -> da.Array:
    """Gradient of `log_softmax` with respect to its argument.

    As formulas::

        diff_src = diff_dst - exp(dst) * sum(diff_dst)        the dst form
        diff_src = diff_dst - softmax(src) * sum(diff_dst)    the src form

    Parameters
    ----------
    diff_dst : dask.array.Array
        The gradient with respect to the forward's result.
    src : dask.array.Array, optional
        What `log_softmax` was given, of `diff_dst`'s shape. Where its chunks
        are others, both are cut at both's places.
    axis : int, tuple of ints or None, default -1
        The forward's axis or axes.
    dst : dask.array.Array, optional
        What `log_softmax` returned. Exactly one of `src` and `dst` is given.
    dtype : dtype, optional
        The result's dtype; by default the operands' common one.
    num_threads, split_every : int, optional
        As of `log_softmax`.

    Returns
    -------
    dask.array.Array
        Of the operands' shape. Nothing has been computed.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As by `fastlsm.log_softmax_backward`, at once; also if an operand is no
        Dask array of NumPy arrays, or of unknown chunk sizes. What goes wrong
        in a chunk is raised when that is computed, with the chunk's place.

    See Also
    --------
    fastlsm.log_softmax_backward : For NumPy arrays; what it says of accuracy
        and special values holds here too.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastlsm.dask
    >>> src = da.from_array([[1.0, 2.0, 3.0]], chunks=(1, 1))
    >>> diff_dst = da.from_array([[0.0, 0.0, -1.0]], chunks=(1, 3))
    >>> fastlsm.dask.log_softmax_backward(diff_dst, src).compute().round(6)
    array([[ 0.090031,  0.244728, -0.334759]])
    """
    if (src is None) == (dst is None):
        raise neither_or_both(src, dst)
    form, name, second = ("BACKWARD_SRC", "src", src) if dst is None else ("BACKWARD_DST", "dst", dst)
    return _call(form, {"diff_dst": diff_dst, name: second}, axis, dtype, num_threads, split_every)


def _call(form: str, operands: dict[str, Any], axis: Any, dtype: Any, num_threads: Any, split_every: Any) -> da.Array:
    axis = axes_of(axis)
    num_threads = checked_num_threads(num_threads) or 1
    split_every = count_or_none(split_every, "split_every", 2)
    for name, x in operands.items():
        _check(x, name)
    refuse_labels(operands)
    shape, *other = (x.shape for x in operands.values())
    if other and other[0] != shape:
        raise ValueError(f"{' and '.join(operands)} must have the same shape; got {shape} and {other[0]}")
    layer = "log_softmax" if form == "LOG_SOFTMAX" else "log_softmax_backward"
    step = _Step(form, {"axis": axis, "dtype": None if dtype is None else dtype_of(dtype)}, num_threads)
    meta = step.whole(*(np.zeros((0,) * x.ndim, x.dtype) for x in operands.values()))
    step.options["dtype"] = meta.dtype
    ndim = len(shape)
    axes = tuple(range(ndim) if axis is None else (d % ndim for d in (axis if isinstance(axis, tuple) else (axis,))))
    _, arrays = unify_chunks(*(part for x in operands.values() for part in (x, tuple(range(ndim)))))
    if all(arrays[0].numblocks[d] == 1 for d in axes):
        return da.map_blocks(step.run("whole"), *arrays, token=layer, dtype=meta.dtype, meta=meta)
    of_partials = np.empty((0,) * ndim, partials.PARTIAL)
    reduced = da.map_blocks(
        step.run("reduce"),
        *(arrays[:1] if form == "BACKWARD_DST" else arrays),
        token=f"{layer}-reduce",
        chunks=tuple((1,) * len(c) if d in axes else c for d, c in enumerate(arrays[0].chunks)),
        dtype=partials.PARTIAL,
        meta=of_partials,
    )
    # Not da.reduction: it takes one array, and its own step for each chunk would cost a task's time, 0.3 ms.
    totals = _tree_reduce(
        reduced,
        _combine,
        axes,
        keepdims=True,
        dtype=partials.PARTIAL,
        split_every=split_every,
        combine=_combine,
        name=f"{layer}-combine",
        reduced_meta=of_partials,
    )
    return da.map_blocks(
        step.run("finish"), *arrays, totals, token=layer, chunks=arrays[0].chunks, dtype=meta.dtype, meta=meta
    )


def _check(x: Any, name: str) -> None:
    if not isinstance(x, da.Array):
        raise TypeError(
            f"{name} must be a Dask array; got {type(x).__name__}. dask.array.from_array makes one; for NumPy arrays "
            "there is fastlsm itself"
        )
    if not isinstance(x._meta, np.ndarray):
        raise TypeError(f"{name} must have chunks that are NumPy arrays; they are {type(x._meta).__name__}")
    if any(math.isnan(extent) for extent in x.shape):
        raise ValueError(
            f"{name} has chunks of unknown sizes, shape {x.shape}; {name}.compute_chunk_sizes() finds them"
        )


@dataclass(frozen=True)
class _Step:
    """What is done to chunks. One object, for Dask would look at each argument of each task."""

    form: str
    options: dict[str, Any]
    num_threads: int
    name: str = "whole"

    def run(self, name: str) -> _Step:
        return replace(self, name=name)

    def __call__(self, *chunks: Any, block_id: tuple[int, ...]) -> Any:
        """The step of a chunk; what it raises says where."""
        num_threads = min(self.num_threads, fastlsm.get_num_threads())
        try:
            return getattr(self, self.name)(*chunks, num_threads=num_threads)
        except (TypeError, ValueError, MemoryError) as error:
            kind = next(kind for kind in (TypeError, ValueError, MemoryError) if isinstance(error, kind))
            raise kind(f"in chunk {block_id}: {error}") from error

    def whole(self, *operands: Any, num_threads: int = 1) -> Any:
        call = fastlsm.log_softmax if self.form == "LOG_SOFTMAX" else fastlsm.log_softmax_backward
        return call(**self._named(operands), **self.options, num_threads=num_threads)

    def reduce(self, *operands: Any, num_threads: int) -> Any:
        return partials.reduce_chunk(**self._named(operands), **self.options, num_threads=num_threads)

    def finish(self, *operands_and_totals: Any, num_threads: int) -> Any:
        *operands, totals = operands_and_totals
        call = partials.log_softmax if self.form == "LOG_SOFTMAX" else partials.log_softmax_backward
        return call(**self._named(operands), totals=totals, **self.options, num_threads=num_threads)

    def _named(self, operands: Sequence[Any]) -> dict[str, Any]:
        names = {"LOG_SOFTMAX": ["src"], "BACKWARD_SRC": ["diff_dst", "src"], "BACKWARD_DST": ["diff_dst", "dst"]}
        return dict(zip(names[self.form], operands, strict=False))


def _combine(reduced: Any, axis: Any, keepdims: bool) -> Any:
    return partials.combine(reduced, axis)
