"""Few rows that fill a run of memory: the answer is the contiguous rows', in every bit."""

import numpy as np
import pytest
import reference

import fastlsm
from fastlsm import _runtime

FORMS = {
    "LOG_SOFTMAX": lambda g, x, axis, **kw: fastlsm.log_softmax(x, axis, **kw),
    "BACKWARD_SRC": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, x, axis, **kw),
    "BACKWARD_DST": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, dst=x, axis=axis, **kw),
}
SHAPES = [  # with an end that is no whole group, with none, of several parts, past scratch, of one place
    (5, 700, 3),
    (3, 512, 16),
    (2, 16_400, 2),
    (1, 33_000, 7),
    (40, 130, 47),
]


def walk(form, a):
    kernels = _runtime.kernels
    return kernels.plan(kernels.FORMS[form], a, a, a, 1)["walk"]


def contiguous(form, g, x, **kw):
    """The same rows, one after the other."""
    rows = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (g, x)]
    return np.moveaxis(FORMS[form](*rows, -1, **kw), -1, 1)


def bits(a):
    return np.where(np.isnan(a), np.ones((), a.dtype), a).tobytes()


def problem(rng, shape, dtype, form):
    g, x = rng.normal(size=(2, *shape)).astype(dtype)
    return g, fastlsm.log_softmax(4 * x, 1) if form == "BACKWARD_DST" else 4 * x


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", reference.DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
class TestEachShape:
    def test_is_as_contiguous_rows(self, isa, rng, shape, dtype, form):
        g, x = problem(rng, shape, dtype, form)
        assert walk(form, x) == "interleaved"
        assert bits(FORMS[form](g, x, 1)) == bits(contiguous(form, g, x))

    def test_in_place(self, isa, rng, shape, dtype, form):
        g, x = problem(rng, shape, dtype, form)
        expected = bits(contiguous(form, g, x))
        over_x = x.copy()
        assert bits(FORMS[form](g, over_x, 1, out=over_x)) == expected
        if form != "LOG_SOFTMAX":
            over_g = g.copy()
            assert bits(FORMS[form](over_g, x, 1, out=over_g)) == expected

    def test_special_values(self, isa, rng, shape, dtype, form):
        g, x = problem(rng, shape, dtype, form)
        x[:, ::3, 0] = -np.inf
        x[0, -1, 1] = np.nan
        g[-1, -2, 1] = np.inf
        if shape[2] > 2:
            x[:, :, 2] = -np.inf
            x[0, 5, -1] = np.inf if form != "BACKWARD_DST" else 3
        assert bits(FORMS[form](g, x, 1)) == bits(contiguous(form, g, x))

    def test_sure_rows(self, isa, rng, shape, dtype, form):
        g, x = problem(rng, shape, dtype, form)
        x[:, shape[1] // 2] += np.asarray(rng.uniform(20, 40, size=(shape[0], shape[2]))).astype(dtype)
        x[:, -1, 0] += dtype.type(60)
        if form == "BACKWARD_DST":
            x = fastlsm.log_softmax(x, 1)
        assert bits(FORMS[form](g, x, 1)) == bits(contiguous(form, g, x))


@pytest.mark.parametrize("form", ["BACKWARD_SRC", "BACKWARD_DST"])
def test_sums_past_the_range(isa, rng, form):
    for dtype, huge in ((np.float32, 3e38), (np.float64, 1.7e308)):
        g, x = problem(rng, (4, 600, 5), np.dtype(dtype), form)
        g[:, 3:5, :2], g[:, 40:42, :2] = huge, -huge
        g[:, 100, 3] = huge
        with np.errstate(over="ignore"):
            assert bits(FORMS[form](g, x, 1)) == bits(contiguous(form, g, x))


@pytest.mark.parametrize("form", FORMS)
def test_a_result_past_the_caches(isa, rng, form):
    g, x = problem(rng, (70, 20_011, 3), np.dtype(np.float32), form)
    g, x = (np.concatenate([a, a[:1]]).ravel()[1 : a.size + 1].reshape(a.shape) for a in (g, x))  # off a cache line
    for num_threads in (1, 2):
        assert bits(FORMS[form](g, x, 1, num_threads=num_threads)) == bits(contiguous(form, g, x))


def test_only_runs_of_memory_are_taken_so():
    a = np.empty((4, 700, 6), np.float32)
    assert walk("BACKWARD_DST", a) == "interleaved"
    assert walk("BACKWARD_DST", a[:, :, :3]) != "interleaved"  # the rest of the run is not of these rows
    assert walk("BACKWARD_DST", a[:, ::-1]) != "interleaved"
    assert walk("BACKWARD_DST", a[:, ::2]) != "interleaved"
    assert walk("BACKWARD_DST", a[:, :20]) != "interleaved"  # short rows are turned
    assert walk("BACKWARD_DST", np.empty((4, 700, 48), np.float32)) != "interleaved"
