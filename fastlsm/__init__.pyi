from typing import Any, SupportsIndex, TypeVar, overload

from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["log_softmax", "log_softmax_backward"]
__version__: str

_Out = TypeVar("_Out", bound=NDArray[Any])

@overload
def log_softmax(
    src: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    out: None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax(
    src: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    out: _Out,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    src: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    dst: None = None,
    out: None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    src: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    dst: None = None,
    out: _Out,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    src: None = None,
    axis: SupportsIndex = -1,
    *,
    dst: ArrayLike,
    out: None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    src: None = None,
    axis: SupportsIndex = -1,
    *,
    dst: ArrayLike,
    out: _Out,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
