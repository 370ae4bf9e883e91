"""oneDNN's softmax primitives (algorithm: log) through its C API, from the shared library in its wheel.

Numbers and signatures are those of oneDNN 3's dnnl_types.h and dnnl.h. The src form is its forward, into an
intermediate allocated beforehand, and then its backward.
"""

import ctypes
from importlib.metadata import PackageNotFoundError, files

import numpy as np

from benchmarks.rivals.prepared import Prepared, Unsupported

DISTRIBUTION = "onednn-cpu-gomp"
STATUS = {1: "out of memory", 2: "invalid arguments", 3: "unimplemented", 5: "runtime error"}
DATA_TYPES = {"float16": 1, "bfloat16": 2, "float32": 3, "float64": 7}
CPU, IN_ORDER, FORWARD_TRAINING, SOFTMAX_LOG = 1, 1, 64, 0x30001
SRC, DST, DIFF_SRC, DIFF_DST = 1, 17, 129, 145


class Argument(ctypes.Structure):
    _fields_ = (("index", ctypes.c_int), ("memory", ctypes.c_void_p))


def _load():
    try:
        names = files(DISTRIBUTION)
    except PackageNotFoundError as error:
        raise ImportError(f"{DISTRIBUTION} is not installed") from error
    return ctypes.CDLL(str(next(file.locate() for file in names if file.name == "libdnnl.so.3")))


_library = _load()


def _call(name, *arguments):
    status = getattr(_library, name)(*arguments)
    if status:
        raise Unsupported(f"{name}: {STATUS.get(status, status)}")


def _create(name, *arguments):
    handle = ctypes.c_void_p()
    _call(name, ctypes.byref(handle), *arguments)
    return handle


_engine = _create("dnnl_engine_create", CPU, ctypes.c_size_t(0))
_stream = _create("dnnl_stream_create", _engine, IN_ORDER)


def _descriptor(array, data_type):
    dims = ctypes.c_int64 * 12
    strides = [stride // array.itemsize for stride in array.strides]
    return _create("dnnl_memory_desc_create_with_strides", array.ndim, dims(*array.shape), data_type, dims(*strides))


def _execution(primitive_descriptor, operands):
    """A call without arguments on `operands`: an array and its descriptor for each of oneDNN's indices.

    It keeps the arrays alive, and does not wait: the CPU engine is done when it returns.
    """
    primitive = _create("dnnl_primitive_create", primitive_descriptor)
    arguments = (Argument * len(operands))()
    for argument, (index, (array, descriptor)) in zip(arguments, operands.items(), strict=True):
        address = ctypes.c_void_p(array.ctypes.data)
        argument.index = index
        argument.memory = _create("dnnl_memory_create", descriptor, _engine, address).value
    execute, count = _library.dnnl_primitive_execute, len(operands)

    def run(operands=operands):
        if execute(primitive, _stream, count, arguments):
            raise RuntimeError("dnnl_primitive_execute failed")

    return run


def prepare(problem):
    data_type, axis = DATA_TYPES[problem.cell.dtype], problem.axis % problem.out.ndim
    diff_dst, x, out = ((array, _descriptor(array, data_type)) for array in (problem.diff_dst, problem.x, problem.out))
    if problem.form == "src":
        intermediate = np.empty_like(problem.out)
        dst, scratch = (intermediate, _descriptor(intermediate, data_type)), intermediate.nbytes
    else:
        dst, scratch = (out if problem.form == "forward" else x), 0
    forward = _create(
        "dnnl_softmax_forward_primitive_desc_create",
        _engine, FORWARD_TRAINING, SOFTMAX_LOG, x[1], dst[1], axis, None,
    )  # fmt: skip
    calls = []
    if problem.form != "dst":
        calls.append(_execution(forward, {SRC: x, DST: dst}))
    if problem.form != "forward":
        backward = _create(
            "dnnl_softmax_backward_primitive_desc_create",
            _engine, SOFTMAX_LOG, out[1], diff_dst[1], dst[1], axis, forward, None,
        )  # fmt: skip
        calls.append(_execution(backward, {DST: dst, DIFF_DST: diff_dst, DIFF_SRC: out}))
    if len(calls) == 1:
        return Prepared(calls[0], lambda: problem.out)

    def both():
        for call in calls:
            call()

    return Prepared(both, lambda: problem.out, scratch)


CONTENDERS = {"oneDNN": prepare}
