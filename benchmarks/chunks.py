"""fastlsm.dask beside the plain formula on dask.array and beside one array: in threads, and in two processes."""

from contextlib import contextmanager
from functools import partial

import numpy as np
from rich.table import Table

try:
    import dask
    import dask.array as da
    from distributed import Client, LocalCluster
except ImportError as error:
    raise SystemExit(f"--dask needs {error.name}; pip install 'dask[array,distributed]' brings it") from None

import fastlsm
import fastlsm.dask
from benchmarks import reference
from benchmarks.race import in_rounds, paired_ratio, timed

SHAPE, QUICK_SHAPE = (1024, 65536), (64, 4096)
FORMS = ("forward", "src", "dst")
WORKERS = 2
GRIDS = {"batch in 8": (8, 1), "axis in 8": (1, 8), "both, 4 by 8": (4, 8)}
AXIS_CHUNKS = (1, 2, 4, 8, 16, 32, 64)
SECONDS = 2  # for each race


def _log_softmax(x):
    shifted = x - x.max(-1, keepdims=True)
    return shifted - da.log(da.exp(shifted).sum(-1, keepdims=True))


def _backward_src(diff_dst, x):
    e = da.exp(x - x.max(-1, keepdims=True))
    return diff_dst - e / e.sum(-1, keepdims=True) * diff_dst.sum(-1, keepdims=True)


def plain(form, diff_dst, x):
    if form == "forward":
        return _log_softmax(x)
    return _backward_src(diff_dst, x) if form == "src" else diff_dst - da.exp(x) * diff_dst.sum(-1, keepdims=True)


def call(module, form, diff_dst, x, **options):
    if form == "forward":
        return module.log_softmax(x, **options)
    return module.log_softmax_backward(diff_dst, **{form: x}, **options)


def measure(options, progress):
    """The tables: beside the plain formula, by the number of chunks along the axis, and by the threads of a chunk."""
    shape = QUICK_SHAPE if options.quick else SHAPE
    name_of_shape = " x ".join(map(str, shape))
    beside = _table(f"time of the other over time of fastlsm.dask, float32, {name_of_shape}", "chunks", "beside")
    growth = _table("ms, by chunks along the axis; one chunk is fastlsm itself", "chunks along the axis")
    threads = _table("time of two threads a chunk over time of one, where Dask has two, both, 4 by 8")
    engines = {"threads": _in_threads, "processes": _in_processes}
    engines = {name: engine for name, engine in engines.items() if not options.only or name in options.only}
    with progress:
        task = progress.add_task("", total=len(engines) * (len(GRIDS) + len(AXIS_CHUNKS)))
        for name, engine in engines.items():
            with engine():
                for grid, blocks in GRIDS.items():
                    operands = _operands(shape, blocks)
                    cells = [_beside(form, *operands[form], options, name == "threads") for form in FORMS]
                    for other in cells[0]:
                        beside.add_row(name, grid, other, *(f"{cell[other]:.2f}" for cell in cells))
                    progress.advance(task)
                if name == "threads":
                    threads.add_row(name, *(f"{_two_threads(form, *operands[form], options):.2f}" for form in FORMS))
                for count in AXIS_CHUNKS:
                    operands = _operands(shape, (1, count))
                    cells = [_alone(form, *operands[form], options) for form in FORMS]
                    growth.add_row(name, str(count), *(f"{1e3 * seconds:.0f}" for seconds in cells))
                    progress.advance(task)
    return [table for table in (beside, growth, threads) if table.row_count]


def _table(title, *headings):
    table = Table(title=title, title_justify="left")
    for heading in ("engine", *headings, *FORMS):
        table.add_column(heading, justify="left" if heading in ("engine", "chunks", "beside") else "right")
    return table


@contextmanager
def _in_threads():
    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        yield


@contextmanager
def _in_processes():
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        yield


def _operands(shape, blocks):
    """diff_dst and the other operand of each form, in memory."""
    chunks = tuple(extent // count for extent, count in zip(shape, blocks, strict=True))
    generator = da.random.default_rng()
    diff_dst, x = dask.persist(*(8 * generator.random(shape, dtype=np.float32, chunks=chunks) - 4 for _ in range(2)))
    dst = fastlsm.dask.log_softmax(x).persist()
    return {form: (diff_dst, dst if form == "dst" else x) for form in FORMS}


def _computes(result):
    """A call that computes all of a result, and keeps next to nothing of it."""
    chunks = tuple((1,) * count for count in result.numblocks)
    # A lambda goes to worker processes by value. They could not import a function of this module.
    return result.map_blocks(lambda chunk: chunk[:1, :1], chunks=chunks, dtype=result.dtype).compute


def _race(calls, options):
    """Seconds of each call in each round; `race` would call each once more to warm up, for twice the time."""
    times = {name: [] for name in calls}
    for each in calls.values():
        each()
    for _ in in_rounds(options.rounds, SECONDS):
        for name, each in calls.items():
            times[name].append(timed(each))
    return times


def _beside(form, diff_dst, x, options, beside_one_array):
    """How many times as long the others take."""
    ours, formula = call(fastlsm.dask, form, diff_dst, x), plain(form, diff_dst, x)
    _check(form, diff_dst, x, ours, formula)
    calls = {"fastlsm.dask": _computes(ours), "the plain formula": _computes(formula)}
    if beside_one_array:
        arrays = dask.compute(diff_dst, x)
        calls["one array"] = partial(call, fastlsm, form, *arrays, num_threads=WORKERS)
    times = _race(calls, options)
    return {name: paired_ratio(times[name], times["fastlsm.dask"]) for name in calls if name != "fastlsm.dask"}


def _check(form, *arrays):
    """The last rows of the results, which come after the operands."""
    diff_dst, x, *results = dask.compute(*(each[-4:] for each in arrays))
    for result in results:
        reference.check(result, reference.answer(form, diff_dst, x, -1), "float32")


def _alone(form, diff_dst, x, options):
    """Seconds."""
    return min(_race({"": _computes(call(fastlsm.dask, form, diff_dst, x))}, options)[""])


def _two_threads(form, diff_dst, x, options):
    calls = {count: _computes(call(fastlsm.dask, form, diff_dst, x, num_threads=count)) for count in (1, 2)}
    times = _race(calls, options)
    return paired_ratio(times[2], times[1])
