"""The calls of each form, as they are and in ways that the kernels decline."""

import numpy as np
import pytest
from reference import DTYPES

import fastlsm
from fastlsm import _runtime, _threads

FORMS = {
    "forward": lambda g, x, **kw: fastlsm.log_softmax(x, **kw),
    "src": lambda g, x, **kw: fastlsm.log_softmax_backward(g, x, **kw),
    "dst": lambda g, x, **kw: fastlsm.log_softmax_backward(g, dst=x, **kw),
}
BACKWARD_DST = 2
FLOAT32 = np.dtype(np.float32)

every_form = pytest.mark.parametrize("form", FORMS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


class Subclass(np.ndarray):
    pass


def operands(rng, shape, dtype, order="C"):
    return [np.array(rng.normal(size=shape), dtype, order=order) for _ in range(2)]


def backwards(a):
    """A view of the same elements with gaps, the last first in memory."""
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::-2] = a
    return wide[..., ::-2]


def the_general_way(form, g, x, **kwargs):
    """Other strides, and a class that the kernels decline."""
    return FORMS[form](backwards(g).view(Subclass), backwards(x).view(Subclass), **kwargs)


def answered(first, second, axis=1, out=None, dtype=None, num_threads=None):
    threads = _threads.threads_for, _threads.note_lost
    return _runtime.kernels.run(BACKWARD_DST, first, second, axis, out, dtype, num_threads, *threads)


counts_references = pytest.mark.thread_unsafe(reason="counts references and memory of the whole process")
