"""Calls as programs make them, and the types that checkers are to find. test_types.py checks and runs this file."""

from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_origin

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

import fastlsm

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value, expected):
        """The same at run time: whether an array has the dtype of its type."""
        if get_origin(expected) is np.ndarray:
            (scalar,) = get_args(get_args(expected)[1])
            assert scalar in (Any, np.generic) or value.dtype == scalar


F16: TypeAlias = NDArray[np.float16]
F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
Unknown: TypeAlias = NDArray[Any]

f16: F16 = np.ones((2, 3), np.float16)
f32: F32 = np.ones((2, 3), np.float32)
f64: F64 = np.ones((2, 3))
bf16: NDArray[np.generic] = f32.astype(ml_dtypes.bfloat16)  # of which type checkers know no more
ints, bools = np.ones((2, 3), np.int8), np.ones((2, 3), np.bool_)
numbers = [[1.0, 2.5, 3.0], [4.0, 5.0, 6.0]]


def the_operands_dtype() -> None:
    assert_type(fastlsm.log_softmax(f16), F16)
    assert_type(fastlsm.log_softmax(f32), F32)
    assert_type(fastlsm.log_softmax(f64), F64)
    assert_type(fastlsm.log_softmax(bf16), Unknown)
    assert_type(fastlsm.log_softmax_backward(f32, f32), F32)
    assert_type(fastlsm.log_softmax_backward(f32, dst=f32), F32)
    assert_type(fastlsm.log_softmax_backward(f16, dst=f16, axis=0, num_threads=2), F16)
    assert_type(fastlsm.log_softmax_backward(diff_dst=f64, src=f64, axis=0, num_threads=None), F64)
    assert_type(fastlsm.log_softmax_backward(bf16, f32), Unknown)
    assert_type(fastlsm.log_softmax_backward(f32, dst=f64), Unknown)


def what_becomes_float64() -> None:
    assert_type(fastlsm.log_softmax(numbers), F64)
    assert_type(fastlsm.log_softmax([1, 2, 3]), F64)
    assert_type(fastlsm.log_softmax((1.0, 2.0)), F64)
    assert_type(fastlsm.log_softmax(2.5, axis=None), F64)
    assert_type(fastlsm.log_softmax(ints), F64)
    assert_type(fastlsm.log_softmax(bools), F64)
    assert_type(fastlsm.log_softmax_backward(numbers, ints), F64)
    assert_type(fastlsm.log_softmax_backward([True, False, True], dst=[-1, -1, -1]), F64)
    assert_type(fastlsm.log_softmax_backward(numbers, f32), Unknown)
    assert_type(fastlsm.log_softmax_backward(f32, dst=ints), Unknown)


def the_dtype_given() -> None:
    assert_type(fastlsm.log_softmax(f64, dtype=np.float32), F32)
    assert_type(fastlsm.log_softmax(numbers, dtype=np.float16), F16)
    assert_type(fastlsm.log_softmax(bf16, dtype=f32.dtype), F32)
    assert_type(fastlsm.log_softmax(f32, dtype="float64"), Unknown)
    assert_type(fastlsm.log_softmax_backward(bf16, bf16, dtype=np.float32), F32)
    assert_type(fastlsm.log_softmax_backward(f32, dst=f64, dtype=np.float64), F64)
    assert_type(fastlsm.log_softmax_backward(f32, f32, dtype=">f4"), Unknown)


def the_array_given() -> None:
    out32, out64 = f32.copy(), f64.copy()
    assert_type(fastlsm.log_softmax(f64, out=out32), F32)
    assert_type(fastlsm.log_softmax(bf16, out=out64), F64)
    assert_type(fastlsm.log_softmax(f32, out=bf16), NDArray[np.generic])
    assert_type(fastlsm.log_softmax_backward(f32, dst=f32, out=out64, dtype=np.float32), F64)
    assert_type(fastlsm.log_softmax_backward(numbers, ints, out=out32), F32)


def several_axes() -> None:
    cube = np.ones((2, 3, 4), np.float32)
    axes = [0, 2]
    assert_type(fastlsm.log_softmax(cube, None), F32)
    assert_type(fastlsm.log_softmax(cube, axis=()), F32)
    assert_type(fastlsm.log_softmax(cube, axes), F32)
    assert_type(fastlsm.log_softmax(cube, tuple(axes)), F32)
    assert_type(fastlsm.log_softmax(cube, (np.int64(0), -1)), F32)
    assert_type(fastlsm.log_softmax_backward(cube, cube, np.argmax([1, 2])), F32)
    assert_type(fastlsm.log_softmax_backward(cube, dst=cube, axis=None), F32)


def what_may_be_none(src: F32 | None, dst: F32 | None, out: F64 | None) -> None:
    assert_type(fastlsm.log_softmax_backward(f32, src, dst=dst), F32)
    assert_type(fastlsm.log_softmax_backward(f32, src, dst=dst, out=out), F32 | F64)


def any_arrays(diff_dst: ArrayLike, src: ArrayLike | None, dst: ArrayLike | None) -> None:
    assert_type(fastlsm.log_softmax(diff_dst), Unknown)
    assert_type(fastlsm.log_softmax_backward(diff_dst, src, dst=dst), Unknown)
    assert_type(fastlsm.log_softmax_backward(diff_dst, src, dst=dst, dtype=np.float32), F32)


def around_them() -> None:
    fastlsm.set_num_threads(None)
    assert_type(fastlsm.get_num_threads(), int)
    assert_type(fastlsm.show_config("dicts"), dict[str, dict[str, Any]])


if TYPE_CHECKING:  # mistakes that are found; a checker complains of a comment where it finds none
    fastlsm.log_softmax_backward(f32)  # type: ignore[call-overload]
    fastlsm.log_softmax_backward(f32, dst=None)  # type: ignore[call-overload]
    fastlsm.log_softmax_backward(f32, f32, dts=f32)  # type: ignore[call-overload]
    fastlsm.log_softmax(f32, axis=1.0)  # type: ignore[call-overload]
    fastlsm.log_softmax(f32, axis="0")  # type: ignore[call-overload]
    fastlsm.log_softmax(f32, axis=range(2))  # type: ignore[call-overload]
    fastlsm.log_softmax(f32, 1, f32)  # type: ignore[call-overload]
    fastlsm.log_softmax(f32, out=[0.0])  # type: ignore[call-overload]
    fastlsm.log_softmax(None)  # type: ignore[call-overload]
else:
    the_operands_dtype()
    what_becomes_float64()
    the_dtype_given()
    the_array_given()
    several_axes()
    for operands in ((f32, None), (None, f32)):
        what_may_be_none(*operands, f64.copy())
        any_arrays(numbers, *operands)
    around_them()
