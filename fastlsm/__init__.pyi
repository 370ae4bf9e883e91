from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["get_num_threads", "log_softmax", "log_softmax_backward", "set_num_threads", "show_config"]
__version__: str

_Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | list[int] | None
_Numbers: TypeAlias = float | Sequence[_Numbers]
_Integers: TypeAlias = NDArray[np.integer[Any]] | NDArray[np.bool_]

# NDArray[Any] is the answer where the dtype does not show: for bfloat16, say, or operands of two dtypes.
_Float = TypeVar("_Float", np.float16, np.float32, np.float64)
_Out = TypeVar("_Out", bound=NDArray[Any])

@overload
def log_softmax(
    src: ArrayLike,
    axis: _Axis = -1,
    *,
    out: _Out,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax(
    src: NDArray[_Float],
    axis: _Axis = -1,
    *,
    out: None = None,
    dtype: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax(
    src: _Numbers | _Integers,
    axis: _Axis = -1,
    *,
    out: None = None,
    dtype: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def log_softmax(
    src: ArrayLike,
    axis: _Axis = -1,
    *,
    out: None = None,
    dtype: type[_Float] | np.dtype[_Float],
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax(
    src: ArrayLike,
    axis: _Axis = -1,
    *,
    out: None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...

# Each rule twice: with src, which may be None if dst may be; and with dst alone.
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    src: ArrayLike | None,
    axis: _Axis = -1,
    *,
    dst: ArrayLike | None = None,
    out: _Out,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    *,
    axis: _Axis = -1,
    dst: ArrayLike,
    out: _Out,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> _Out: ...
@overload
def log_softmax_backward(
    diff_dst: NDArray[_Float],
    src: NDArray[_Float] | None,
    axis: _Axis = -1,
    *,
    dst: NDArray[_Float] | None = None,
    out: None = None,
    dtype: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_backward(
    diff_dst: NDArray[_Float],
    *,
    axis: _Axis = -1,
    dst: NDArray[_Float],
    out: None = None,
    dtype: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_backward(
    diff_dst: _Numbers | _Integers,
    src: _Numbers | _Integers | None,
    axis: _Axis = -1,
    *,
    dst: _Numbers | _Integers | None = None,
    out: None = None,
    dtype: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def log_softmax_backward(
    diff_dst: _Numbers | _Integers,
    *,
    axis: _Axis = -1,
    dst: _Numbers | _Integers,
    out: None = None,
    dtype: None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.float64]: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    src: ArrayLike | None,
    axis: _Axis = -1,
    *,
    dst: ArrayLike | None = None,
    out: None = None,
    dtype: type[_Float] | np.dtype[_Float],
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    *,
    axis: _Axis = -1,
    dst: ArrayLike,
    out: None = None,
    dtype: type[_Float] | np.dtype[_Float],
    num_threads: SupportsIndex | None = None,
) -> NDArray[_Float]: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    src: ArrayLike | None,
    axis: _Axis = -1,
    *,
    dst: ArrayLike | None = None,
    out: None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
@overload
def log_softmax_backward(
    diff_dst: ArrayLike,
    *,
    axis: _Axis = -1,
    dst: ArrayLike,
    out: None = None,
    dtype: DTypeLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Any]: ...
def get_num_threads() -> int: ...
def set_num_threads(num_threads: SupportsIndex | None) -> None: ...
@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, dict[str, Any]]: ...
