"""Walks over columns that make no tiles in scratch: the answer is the contiguous rows', in every bit."""

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
PROBLEMS = [  # (walk, shape, columns after each row that are not of the array)
    ("interleaved", (5, 700, 3), 0),  # an end that is no whole group
    ("interleaved", (3, 512, 16), 0),
    ("interleaved", (2, 16_400, 2), 0),  # several parts
    ("interleaved", (1, 33_000, 7), 0),  # past scratch, of one place
    ("interleaved", (40, 130, 47), 0),
    ("interleaved", (9, 300, 49), 0),
    ("interleaved", (3, 1033, 63), 0),
    ("tall", (1, 1101, 133), 0),  # an end that is no whole vector
    ("tall", (5, 2100, 64), 0),  # more places than threads
    ("tall", (1, 33_001, 17), 5),  # several parts
    ("tall", (2, 1050, 160), 32),
    ("tall", (1, 34_000, 6), 1),
]
IDS = [f"{walk}-{'x'.join(map(str, shape))}" for walk, shape, _ in PROBLEMS]


def walk(form, a):
    kernels = _runtime.kernels
    return kernels.plan(kernels.FORMS[form], a, a, a, 1)["walk"]


def padded(a, padding):
    """The same array, in the memory of a wider one."""
    whole = np.full((*a.shape[:-1], a.shape[-1] + padding), 7, a.dtype)
    whole[..., : a.shape[-1]] = a
    return whole[..., : a.shape[-1]]


def contiguous(form, g, x, **kw):
    """The same rows, one after the other."""
    rows = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (g, x)]
    return np.moveaxis(FORMS[form](*rows, -1, **kw), -1, 1)


def bits(a):
    return np.where(np.isnan(a), np.ones((), a.dtype), a).tobytes()


def problem(rng, shape, dtype, form, padding=0):
    g, x = rng.normal(size=(2, *shape)).astype(dtype)
    x = fastlsm.log_softmax(4 * x, 1) if form == "BACKWARD_DST" else 4 * x
    return padded(g, padding), padded(x, padding)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", reference.DTYPES, ids=str)
@pytest.mark.parametrize(("by", "shape", "padding"), PROBLEMS, ids=IDS)
class TestEachShape:
    def test_is_as_contiguous_rows(self, isa, rng, by, shape, padding, dtype, form):
        g, x = problem(rng, shape, dtype, form, padding)
        assert walk(form, x) == by
        assert bits(FORMS[form](g, x, 1)) == bits(contiguous(form, g, x))

    def test_in_place(self, isa, rng, by, shape, padding, dtype, form):
        g, x = problem(rng, shape, dtype, form, padding)
        expected = bits(contiguous(form, g, x))
        over_x = padded(x, padding)
        assert bits(FORMS[form](g, over_x, 1, out=over_x)) == expected
        assert padding == 0 or np.all(over_x.base[..., -padding:] == 7)
        if form != "LOG_SOFTMAX":
            over_g = padded(g, padding)
            assert bits(FORMS[form](over_g, x, 1, out=over_g)) == expected

    def test_special_values(self, isa, rng, by, shape, padding, dtype, form):
        g, x = problem(rng, shape, dtype, form, padding)
        x[:, ::3, 0] = -np.inf
        x[0, -1, 1] = np.nan
        g[-1, -2, 1] = np.inf
        if shape[2] > 2:
            x[:, :, 2] = -np.inf
            x[0, 5, -1] = np.inf if form != "BACKWARD_DST" else 3
        assert bits(FORMS[form](g, x, 1)) == bits(contiguous(form, g, x))

    def test_sure_rows(self, isa, rng, by, shape, padding, dtype, form):
        g, x = problem(rng, shape, dtype, form, padding)
        x[:, shape[1] // 2] += np.asarray(rng.uniform(20, 40, size=(shape[0], shape[2]))).astype(dtype)
        x[:, -1, 0] += dtype.type(60)
        if form == "BACKWARD_DST":
            x = padded(fastlsm.log_softmax(x, 1), padding)
        assert bits(FORMS[form](g, x, 1)) == bits(contiguous(form, g, x))


@pytest.mark.parametrize("form", ["BACKWARD_SRC", "BACKWARD_DST"])
@pytest.mark.parametrize("shape", [(4, 600, 5), (1, 2100, 130)])
def test_sums_past_the_range(isa, rng, form, shape):
    for dtype, huge in ((np.float32, 3e38), (np.float64, 1.7e308)):
        g, x = problem(rng, shape, np.dtype(dtype), form)
        g[:, 3:5, :2], g[:, 40:42, :2] = huge, -huge
        g[:, 100, 3] = huge
        with np.errstate(over="ignore"):
            assert bits(FORMS[form](g, x, 1)) == bits(contiguous(form, g, x))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(70, 20_011, 3), (1, 1103, 2500), (2, 21, 100_800)])  # of the last, whole tiles
def test_a_result_past_the_caches(isa, rng, form, shape):
    g, x = problem(rng, shape, np.dtype(np.float32), form)
    g, x = (np.concatenate([a, a[:1]]).ravel()[1 : a.size + 1].reshape(a.shape) for a in (g, x))  # off a cache line
    for num_threads in (1, 2):
        assert bits(FORMS[form](g, x, 1, num_threads=num_threads)) == bits(contiguous(form, g, x))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("by", "shape"),
    [
        ("tall", (1, 33_001, 66)),
        ("interleaved", (1, 33_001, 50)),
        ("tall", (3, 1101, 333)),
        ("interleaved", (1, 33_001, 7)),
        ("interleaved", (3, 2105, 33)),
    ],
)
def test_threads_share_a_place(rng, by, shape, dtype, form):
    """The rows of tall columns, also more threads than lanes; the lanes of interleaved rows."""
    g, x = problem(rng, shape, np.dtype(dtype), form)
    x[:, shape[1] // 3, ::7] += dtype(50)  # leaves the others little
    if form == "BACKWARD_DST":
        x = fastlsm.log_softmax(x, 1)
    assert walk(form, x) == by
    expected = bits(contiguous(form, g, x, num_threads=1))
    kernels, first = _runtime.kernels, x if form == "LOG_SOFTMAX" else g
    for num_threads in (1, 2, 3, 17, 40):  # more than a call would have on few processors
        result = kernels.run(
            kernels.FORMS[form], first, x, 1, None, None, num_threads, lambda _, most: most, lambda lost: None
        )
        assert bits(result) == expected


@pytest.mark.parametrize("out_dtype", reference.DTYPES, ids=str)
def test_a_result_of_another_dtype(isa, rng, out_dtype):
    g, x = problem(rng, (2, 1101, 133), np.dtype(np.float32), "BACKWARD_SRC")
    assert bits(FORMS["BACKWARD_SRC"](g, x, 1, dtype=out_dtype)) == bits(
        contiguous("BACKWARD_SRC", g, x, dtype=out_dtype)
    )


def test_only_runs_of_memory_are_interleaved():
    a = np.empty((4, 700, 6), np.float32)
    assert walk("BACKWARD_DST", a) == "interleaved"
    assert walk("BACKWARD_DST", a[:, :, :3]) != "interleaved"  # the rest of the run is not of these rows
    assert walk("BACKWARD_DST", a[:, ::-1]) != "interleaved"
    assert walk("BACKWARD_DST", a[:, ::2]) != "interleaved"
    assert walk("BACKWARD_DST", a[:, :20]) != "interleaved"  # short rows are turned
    assert walk("BACKWARD_DST", np.empty((4, 700, 64), np.float32)) != "interleaved"
