"""fastlsm.dask: lazy, in any chunks, within the bounds, the same bits under every scheduler; in docs/chunks.rst."""

import sys
from pathlib import Path

import in_workers
import numpy as np
import pytest
import reference
from processes import check
from reference import BOUND, DTYPES
from test_sure_rows import random_gradient, right_label, sure_rows

import fastlsm

da = pytest.importorskip("dask.array")

import dask  # noqa: E402

import fastlsm.dask  # noqa: E402

pytestmark = [
    pytest.mark.thread_unsafe(reason="Dask has threads of its own, and its configuration is the process's"),
    pytest.mark.filterwarnings("default"),  # other libraries' warnings are not this one's failures
]

FORMS = ["forward", "src", "dst"]
# Along the batch, along the softmax axis, along both; unevenly, of one element, and empty.
CHUNKS = [((5, 5), (48,)), ((10,), (20, 20, 8)), ((4, 6), (1, 30, 17)), ((10,), (0, 20, 0, 28)), ((1,) * 10, (6,) * 8)]


def call(module, form, g, x, axis=-1, **options):
    if form == "forward":
        return module.log_softmax(x, axis, **options)
    return module.log_softmax_backward(g, axis=axis, **{form: x}, **options)


def operands(form, rng, gradient, dtype, shape=(10, 48)):
    src, top = sure_rows(rng, shape[1], shape[0])
    g = gradient(rng, top, shape[1]).astype(dtype)
    return g, (reference.log_softmax(src) if form == "dst" else src).astype(dtype)


def assert_right(form, result, g, x):
    if form == "forward":
        expected = reference.log_softmax(x)
        error = reference.ulp_error(result, expected, expected)
    else:
        mass = (reference.softmax if form == "src" else reference.exp)(x)
        error = reference.gradient_error(result, g, mass).max()
    assert error <= BOUND[result.dtype], error


def bits(a):
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}")


def in_chunks(a, chunks):
    return da.from_array(a, chunks=chunks)


@pytest.mark.parametrize("gradient", [right_label, random_gradient], ids=lambda f: f.__name__)
@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_right_in_any_chunks(rng, form, dtype, chunks, gradient):
    g, x = operands(form, rng, gradient, dtype)
    lazy = call(fastlsm.dask, form, in_chunks(g, chunks), in_chunks(x, chunks))
    assert (lazy.shape, lazy.chunks, lazy.dtype, lazy._meta.dtype) == (x.shape, chunks, dtype, dtype)
    assert_right(form, lazy.compute(), g, x)


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (-1, 0), [1, 2], None, ()], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_axes(rng, form, axis):
    g, x = rng.normal(size=(6, 7, 8)), rng.normal(size=(6, 7, 8))
    result = call(fastlsm.dask, form, in_chunks(g, 3), in_chunks(x, 3), axis).compute()
    assert np.allclose(result, call(fastlsm, form, g, x, axis), rtol=1e-14, atol=1e-15)


def test_no_axis_at_all():
    assert fastlsm.dask.log_softmax(da.from_array(np.array(3.0)), None).compute() == 0


@pytest.mark.parametrize("form", FORMS)
def test_an_axis_of_one_chunk_has_the_bits_of_one_array(rng, form):
    g, x = operands(form, rng, random_gradient, np.dtype(np.float32), (64, 3000))
    result = call(fastlsm.dask, form, in_chunks(g, (7, -1)), in_chunks(x, (7, -1))).compute()
    assert np.array_equal(bits(result), bits(call(fastlsm, form, g, x)))


@pytest.mark.parametrize("form", FORMS)
def test_the_scheduler_changes_no_bit(rng, form):
    g, x = operands(form, rng, random_gradient, np.dtype(np.float32), (64, 3000))
    lazy = call(fastlsm.dask, form, in_chunks(g, (16, 250)), in_chunks(x, (16, 250)))
    with dask.config.set(scheduler="synchronous"):
        expected = bits(lazy.compute())
    for workers in (1, 2, 5):
        assert np.array_equal(bits(lazy.compute(scheduler="threads", num_workers=workers)), expected)


@pytest.mark.parametrize("form", FORMS[1:])
def test_chunks_that_differ_are_aligned(rng, form):
    g, x = operands(form, rng, random_gradient, np.dtype(np.float32))
    lazy = call(fastlsm.dask, form, in_chunks(g, ((4, 6), (30, 18))), in_chunks(x, ((10,), (20, 20, 8))))
    assert lazy.chunks == ((4, 6), (20, 10, 10, 8))
    assert_right(form, lazy.compute(), g, x)


def test_dtypes(rng):
    g, x = rng.integers(-9, 9, (10, 48)).astype(np.int8), rng.normal(size=(10, 48)).astype(np.float32)
    chunks = (5, 16)
    assert fastlsm.dask.log_softmax(in_chunks(g, chunks)).dtype == np.float64
    assert fastlsm.dask.log_softmax_backward(in_chunks(g, chunks), in_chunks(x, chunks)).dtype == np.float32
    for form in FORMS:
        lazy = call(fastlsm.dask, form, in_chunks(g, chunks), in_chunks(x, chunks), dtype=np.float64)
        result = lazy.compute()
        assert lazy.dtype == result.dtype == np.float64
        assert np.allclose(result, call(fastlsm, form, g, x, dtype=np.float64), rtol=1e-14, atol=1e-14)


def test_special_values_in_chunks_of_their_own():
    x = np.zeros((7, 12), np.float32)
    x[0, 3:6] = x[1, :9] = x[2] = -np.inf
    x[3, 4], x[4, 3:6], x[5, 1] = np.nan, np.nan, np.inf
    g = np.ones_like(x)
    for form in FORMS:
        result = call(fastlsm.dask, form, in_chunks(g, (7, 3)), in_chunks(x, (7, 3))).compute()
        assert np.allclose(result, call(fastlsm, form, g, x), equal_nan=True)


def test_arrays_without_elements():
    for shape in ((0, 6), (6, 0)):
        empty = da.zeros(shape, np.float32, chunks=3)
        for form in FORMS:
            assert call(fastlsm.dask, form, empty, empty).compute().shape == shape


# ------------------------------------------------------------------------------------------------- laziness


def failing(block):
    raise OSError("this chunk cannot be read")


def test_nothing_is_computed_while_the_graph_is_built():
    x = da.zeros((8, 8), chunks=4).map_blocks(failing, dtype=np.float64, meta=np.empty((0, 0)))
    results = [call(fastlsm.dask, form, x, x) for form in FORMS]
    for result in results:
        with pytest.raises(OSError, match="cannot be read"):
            result.compute()


@pytest.mark.parametrize("form", FORMS)
def test_chunks_are_not_gathered(rng, form):
    """A task has one chunk of each operand. What it gets of others is partials."""
    seen = []

    class Watch(dask.callbacks.Callback):
        def _posttask(self, key, result, dsk, state, worker_id):
            if isinstance(result, np.ndarray):
                seen.append((result.dtype.names is not None, result.size))

    g, x = (in_chunks(rng.normal(size=(6, 640)).astype(np.float32), (3, 10)) for _ in range(2))
    with Watch():
        call(fastlsm.dask, form, g, x, split_every=4).max().compute(scheduler="synchronous", optimize_graph=False)
    assert max(size for is_partial, size in seen if not is_partial) == 30
    assert max(size for is_partial, size in seen if is_partial) == 3


@pytest.mark.parametrize("form", FORMS)
def test_names_of_layers(form):
    """Dask's repr, progress bars and dashboard show them."""
    name = "log_softmax" if form == "forward" else "log_softmax_backward"
    x = da.zeros((4, 6), chunks=(2, 3))
    layers = {key.rpartition("-")[0] for key in call(fastlsm.dask, form, x, x).dask.layers}
    assert {name, f"{name}-reduce", f"{name}-combine-aggregate"} <= layers
    assert call(fastlsm.dask, form, x.rechunk(6), x.rechunk(6)).name.rpartition("-")[0] == name


# ------------------------------------------------------------------------------------------------- errors

X = da.zeros((4, 6), chunks=(2, 3))


def of_other_chunks():
    x = X.copy()
    x._meta = object()  # CuPy's, say
    return x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fastlsm.log_softmax(X), TypeError, "src is a lazy Array of Dask's.*fastlsm.dask takes"),
        (lambda: fastlsm.log_softmax_backward(X, np.zeros((4, 6))), TypeError, "diff_dst is a lazy Array"),
        (lambda: fastlsm.log_softmax(np.zeros((4, 6)), out=X), TypeError, "out must be a NumPy array; got Array"),
        (lambda: fastlsm.dask.log_softmax(np.zeros(3)), TypeError, "src must be a Dask array; got ndarray.*from_array"),
        (lambda: fastlsm.dask.log_softmax(X, out=X), TypeError, "unexpected keyword argument 'out'"),
        (
            lambda: fastlsm.dask.log_softmax(of_other_chunks()),
            TypeError,
            "src must have chunks that are NumPy",
        ),
        (lambda: fastlsm.dask.log_softmax(X[X[:, 0] > 0]), ValueError, r"unknown sizes.*src.compute_chunk_sizes\(\)"),
        (lambda: fastlsm.dask.log_softmax(X.astype(complex)), TypeError, "src has dtype complex128; supported are"),
        (lambda: fastlsm.dask.log_softmax(X, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda: fastlsm.dask.log_softmax(X, 1.0), TypeError, "axis must be an integer"),
        (lambda: fastlsm.dask.log_softmax(X, (0, -2)), ValueError, "duplicate value in 'axis'"),
        (lambda: fastlsm.dask.log_softmax(X, dtype=int), TypeError, "dtype is int64; supported are"),
        (lambda: fastlsm.dask.log_softmax(X, num_threads=0), ValueError, "num_threads must be at least 1"),
        (lambda: fastlsm.dask.log_softmax(X, split_every=1), ValueError, "split_every must be at least 2, got 1"),
        (lambda: fastlsm.dask.log_softmax(X, split_every=2.5), TypeError, "split_every must be an integer or None"),
        (lambda: fastlsm.dask.log_softmax_backward(X), TypeError, "exactly one of 'src' .* neither given"),
        (lambda: fastlsm.dask.log_softmax_backward(X, X, dst=X), TypeError, "exactly one of 'src' .* both given"),
        (
            lambda: fastlsm.dask.log_softmax_backward(X[:2], X),
            ValueError,
            r"diff_dst and src must have the same shape; got \(2, 6\) and \(4, 6\)",
        ),
        (lambda: fastlsm.dask.log_softmax_backward(X[:, 0].astype(int), X), ValueError, "If diff_dst holds labels"),
    ],
)
def test_errors_before_anything_runs(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_error_in_a_chunk_says_where():
    x = np.ma.zeros((4, 6))
    x[3, 1] = np.ma.masked
    for chunks in ((2, 3), (2, 6)):
        lazy = fastlsm.dask.log_softmax(da.from_array(x, chunks=chunks, asarray=False))
        with pytest.raises(TypeError, match=r"in chunk \(1, 0\): src has masked elements"):
            lazy.compute()


# ------------------------------------------------------------------------------------------------- threads


def test_a_chunk_has_one_thread_unless_more_are_asked_for(monkeypatch):
    counts = []
    real = fastlsm.log_softmax

    def watched(*args, num_threads, **options):
        counts.append(num_threads)
        return real(*args, num_threads=num_threads, **options)

    monkeypatch.setattr(fastlsm, "log_softmax", watched)
    for limit, wanted, expected in [(None, None, 1), (None, 1, 1), (1, 4, 1)]:
        fastlsm.set_num_threads(limit)
        try:
            lazy = fastlsm.dask.log_softmax(X.rechunk((2, 6)), num_threads=wanted)
            counts.clear()
            lazy.compute(scheduler="synchronous")
        finally:
            fastlsm.set_num_threads(None)
        assert counts == [expected] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_threads_but_dasks(rng):
    """Chunks large enough for OpenMP start none of its threads."""
    code = """
import os, threading
import dask.array as da
import numpy as np
import fastlsm.dask
x = da.from_array(np.ones((64, 65536), np.float32), chunks=(32, 16384))
fastlsm.dask.log_softmax_backward(x, x).sum().compute(scheduler="threads", num_workers=2)
print(len(os.listdir("/proc/self/task")), threading.active_count())
"""
    tasks, python_threads = map(int, check(code, OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1").split())
    assert tasks == python_threads


# ------------------------------------------------------------------------------------------------- past memory

PAST_MEMORY = """
import resource
import sys

import dask
import dask.array as da
import numpy as np
from dask.callbacks import Callback
from dask.diagnostics import ProgressBar

import fastlsm.dask

kind, folder = sys.argv[1:]
if kind == "zarr":
    import zarr

    zarr.config.set({"threading.max_workers": 2})
shape, chunks = (1024, 65536), (64, 8192)  # 256 MiB in chunks of 2 MiB


def resident(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


class Peak(Callback):
    bytes = 0

    def _posttask(self, *task):
        self.bytes = max(self.bytes, resident("RssAnon"))


limit = resident("VmData") + (112 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
size = 4 * shape[0] * shape[1]
assert size > limit
try:
    np.ones(shape, np.float32)
except MemoryError:
    pass
else:
    sys.exit("the limit does not hold")

dask.config.set(scheduler="threads", num_workers=2)
if kind == "zarr":
    source = zarr.create_array(folder + "/src", shape=shape, chunks=chunks, dtype="f4", compressors=None)
    target = zarr.create_array(folder + "/dst", shape=shape, chunks=chunks, dtype="f4", compressors=None)
else:
    source = np.memmap(folder + "/src", np.float32, "w+", shape=shape)
    target = np.memmap(folder + "/dst", np.float32, "w+", shape=shape)


def read(path, block_info):
    place = tuple(slice(*ends) for ends in block_info[None]["array-location"])
    return np.memmap(path, np.float32, "r", shape=shape)[place]


rng = np.random.default_rng(0)
for start in range(0, shape[0], chunks[0]):
    source[start : start + chunks[0]] = rng.standard_normal((chunks[0], shape[1]), np.float32)

if kind == "zarr":
    logits = da.from_zarr(source)
else:  # from_array would copy all of it
    logits = da.map_blocks(read, folder + "/src", chunks=da.core.normalize_chunks(chunks, shape), dtype=np.float32)
peak = Peak()
with peak, ProgressBar():
    fastlsm.dask.log_softmax(logits).store(target, lock=False)

rows = np.array(source[700:704])
expected = rows - rows.max(1, keepdims=True)
expected = expected - np.log(np.exp(expected.astype(float)).sum(1, keepdims=True))
assert np.abs(target[700:704] - expected).max() < 1e-5
print(f"array {size >> 20} MiB, limit {limit >> 20} MiB, peak resident {peak.bytes >> 20} MiB")
print(size, limit, peak.bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; elsewhere RLIMIT_DATA does not count what is mapped")
@pytest.mark.parametrize("kind", ["memmap", "zarr"])
def test_past_memory(kind, tmp_path, capsys):
    """An array, and a result, larger than all the memory that the process may take."""
    if kind == "zarr":
        pytest.importorskip("zarr")
    output = check(PAST_MEMORY, kind, tmp_path, OPENBLAS_NUM_THREADS="1", MALLOC_ARENA_MAX="2")
    assert "100% Completed" in output
    summary, figures = output.splitlines()[-2:]
    with capsys.disabled():
        print(f"\n{kind}: {summary}")
    size, limit, peak = map(int, figures.split())
    assert peak < limit < size


# ------------------------------------------------------------------------------------------------- two processes


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Of two worker processes. Each test has its own: a worker that was killed may not come back."""
    monkeypatch.chdir(tmp_path)  # in a clone, workers would find the folder of sources before the installed package
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("when", ["first pass", "last pass"])
@pytest.mark.parametrize("form", FORMS)
def test_a_worker_is_killed(client, rng, tmp_path, form, when):
    """The vocabulary in 8 chunks, on two processes, one of which is killed on the way."""
    g, x = operands(form, rng, random_gradient, np.dtype(np.float32), (32, 4096))
    chunks = (16, 512)
    flag = Path(tmp_path, "killed")
    options = {"flag": str(flag), "dtype": np.float32, "meta": np.empty((0, 0), np.float32)}
    lazy = in_chunks(x, chunks)
    if when == "first pass":
        lazy = lazy.map_blocks(in_workers.kill_one_worker, **options)
    lazy = call(fastlsm.dask, form, in_chunks(g, chunks), lazy)
    if when == "last pass":
        lazy = lazy.map_blocks(in_workers.kill_one_worker, **options)
    result = client.compute(lazy).result(timeout=120)
    assert flag.exists()
    assert_right(form, result, g, x)
    undisturbed = call(fastlsm.dask, form, in_chunks(g, chunks), in_chunks(x, chunks))
    assert np.array_equal(bits(result), bits(undisturbed.compute(scheduler="synchronous")))


def test_a_worker_keeps_its_limit(client):
    """Dask sets OMP_NUM_THREADS to 1 in its worker processes."""
    counts = client.run(in_workers.limits)
    assert len({pid for pid, *_ in counts.values()}) == 2
    assert {threads for _, threads, _ in counts.values()} == {1}
