"""Arguments that the kernels decline as they are: brought to normal form, or refused for their types."""

import operator
import reprlib

import numpy as np

from fastlsm._runtime import kernels


def array_of(x, name):
    """`x` or what it makes of itself, an array of any kind; if masked, then nowhere."""
    if x is None:
        raise TypeError(f"{name} must be an array; got None")
    graph = getattr(x, "__dask_graph__", None)
    if callable(graph) and graph() is not None:
        raise TypeError(
            f"{name} is a lazy {type(x).__name__} of Dask's, which would be computed here: fastlsm.dask takes Dask's "
            f"arrays as they are, and {name}.compute() makes a NumPy array"
        )
    try:
        array = np.asanyarray(x)
    except (TypeError, ValueError) as error:
        if str(getattr(x, "dtype", None)) == "torch.bfloat16":
            raise TypeError(
                f"{name} is a tensor of torch.bfloat16, which NumPy lacks; as an array of ml_dtypes', without a copy: "
                f"{name}.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)"
            ) from error
        if isinstance(x, (list, tuple)):
            raise type(error)(f"{name}: {error}") from error
        raise
    if isinstance(array, np.ma.MaskedArray) and _is_masked(array):
        raise TypeError(
            f"{name} has masked elements; .filled(-np.inf) leaves them out of src or dst, .filled(0) out of diff_dst"
        )
    return array


def _is_masked(array):
    mask = np.ma.getmask(array)
    return mask.dtype == bool and bool(np.any(mask))  # the mask of a structured array, which is refused, is one too


def axes_of(axis):
    """`axis` as an int, a tuple of ints or None."""
    if axis is None:
        return None
    return tuple(map(_index, axis)) if isinstance(axis, (tuple, list)) else _index(axis)


def _index(axis):
    if not isinstance(axis, (bool, np.bool_)):
        try:
            return operator.index(axis)
        except TypeError:
            pass
    raise TypeError(f"axis must be an integer, a tuple of integers or None; got {reprlib.repr(axis)}")


def count_or_none(count, name, least):
    """`count` as an int, or None."""
    if count is None:
        return None
    if isinstance(count, bool):
        raise TypeError(f"{name} must be an integer or None, got {count!r}")
    try:
        found = operator.index(count)
    except TypeError:
        raise TypeError(f"{name} must be an integer or None, got {count!r}") from None
    if found < least:
        raise ValueError(f"{name} must be at least {least}, got {found}")
    return found


def check_out(out):
    # Not isinstance, which believes what an object says of its class.
    if not issubclass(type(out), np.ndarray):
        raise TypeError(f"out must be a NumPy array; got {type(out).__name__}")
    if issubclass(type(out), np.ma.MaskedArray):
        raise TypeError(f"out must be an array without a mask; got {type(out).__name__}, whose .data is one")


def dtype_of(dtype):
    try:
        return np.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"dtype: {error}") from error


def plain_view(array):
    """The same memory without a subclass's ways, and with a shape that stays when the array is given another."""
    return np.ndarray.view(array, np.ndarray)


def operands_of(views):
    """What the kernels can read, of plain views by name; copied only if converted, byte-swapped or unaligned."""
    floats = {name: x.dtype for name, x in views.items() if x.dtype.kind not in "biu"}
    for name, dtype in floats.items():
        kernels.native_code(dtype, f"{name} has dtype")
    return [_operand(x, floats.values()) for x in views.values()]


def _operand(x, floats):
    if x.dtype.kind in "biu":
        return x.astype(_promoted(x.dtype, floats))
    return x if kernels.is_normal(x) else np.array(x, x.dtype.newbyteorder("="), order="K")


def _promoted(dtype, floats):
    """The dtype for integers or bools beside operands of float dtypes, of which there may be none."""
    if not floats:
        return np.float64
    try:
        return np.result_type(dtype, *floats)
    except TypeError:  # bfloat16 beside more than 8 bits, of which NumPy knows nothing: as float16, which is as wide
        return np.result_type(dtype, np.float16)
