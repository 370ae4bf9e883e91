from typing import Any, Literal, SupportsIndex, TypeVar, overload

from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["get_num_threads", "log_softmax", "log_softmax_backward", "set_num_threads", "show_config"]
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
def get_num_threads() -> int: ...
def set_num_threads(num_threads: SupportsIndex | None) -> None: ...
@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, dict[str, Any]]: ...
