"""Contract, all of it: the calls that the kernels take as they are, in a microsecond, get the others' answers."""

import gc
import pickle
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from calls import (
    FLOAT32,
    FORMS,
    answered,
    counts_references,
    every_dtype,
    every_form,
    operands,
    the_general_way,
)
from reference import DTYPES, bfloat16

import fastlsm
from fastlsm import _api, _runtime, _threads

SHAPES = [(7,), (4, 8), (3, 100), (40, 7), (3, 5, 9), (60, 7, 3), (3, 7, 60), (2, 90, 5), (1, 6, 1), (2, 3, 2, 5, 4)]


@pytest.mark.thread_unsafe(reason="changes _api for a while")
@every_form
@every_dtype
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_same_bits_as_the_general_way(isa, form, dtype, order, shape, rng):
    """Every axis, and shapes around the places where rows and columns take turns."""
    g, x = operands(rng, shape, dtype, order)
    for axis in range(-len(shape), len(shape)):
        expected = the_general_way(form, g, x, axis=axis)
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(_api, "_convert_and_run")
            result = FORMS[form](g, x, axis=axis)
            out = np.empty_like(g)
            assert FORMS[form](g, x, axis=axis, out=out) is out
        assert result.strides == np.positive(x).strides
        for answer in (result, out):
            assert answer.dtype == dtype
            assert answer.tobytes() == expected.tobytes()


@every_form
@every_dtype
def test_calls_that_are_common(isa, nothing_else, form, dtype, rng):
    g, x = operands(rng, (6, 40), dtype)
    call = FORMS[form]
    expected = call(g, x)
    assert type(expected) is np.ndarray
    assert expected.flags.owndata
    for other in DTYPES:
        out = np.empty(x.shape, other)
        assert call(g, x, out=out) is out
        for spelt in (other, other.type):
            result = call(g, x, dtype=spelt)
            assert result.dtype == other
            assert np.array_equal(result, out)
    for threads in (1, 2):
        assert np.array_equal(call(g, x, num_threads=threads), expected)
    for which in range(2):
        copies = [g.copy(), x.copy()]
        assert call(*copies, out=copies[which]) is copies[which]
        assert np.array_equal(copies[which], expected)
    same = call(x, x)
    assert np.array_equal(call(x, x, out=x), same)


@every_form
def test_neighbours_in_one_block_of_memory_are_apart(nothing_else, form, rng):
    memory = rng.normal(size=(3, 6, 40))
    g, out, x = memory
    expected = FORMS[form](g, x)
    assert FORMS[form](g, x, out=out) is out
    assert np.array_equal(out, expected)


@every_dtype
def test_dtypes_that_are_equal_but_not_the_same_object(nothing_else, dtype, rng):
    x = rng.normal(size=(4, 8)).astype(dtype)
    expected = fastlsm.log_softmax(x)
    copy = pickle.loads(pickle.dumps(x))
    assert fastlsm.log_softmax(copy).tobytes() == expected.tobytes()
    if dtype != bfloat16:
        tagged = x.view(np.dtype(dtype, metadata={"unit": "nat"}))
        assert fastlsm.log_softmax(tagged).tobytes() == expected.tobytes()


def test_operands_in_both_orders_at_once(nothing_else, rng):
    """One row is in C and in Fortran order; so is one column."""
    for shape in ((1, 9), (9, 1), (1, 9, 1)):
        g, x = operands(rng, shape, FLOAT32)
        assert np.array_equal(
            fastlsm.log_softmax_backward(g, np.asfortranarray(x), -2), fastlsm.log_softmax_backward(g, x, -2)
        )


def test_small_calls_do_not_ask_for_threads(nothing_else, monkeypatch):
    asked = []
    monkeypatch.setattr(_api, "threads_for", lambda *args: asked.append(args) or 1)
    fastlsm.log_softmax(np.zeros(2 * _runtime.kernels.ELEMENTS_PER_THREAD - 1))
    assert asked == []
    assert _threads.threads_for(2 * _runtime.kernels.ELEMENTS_PER_THREAD - 1, None) == 1
    fastlsm.log_softmax(np.zeros((2, _runtime.kernels.ELEMENTS_PER_THREAD)))
    fastlsm.log_softmax(np.zeros(3), num_threads=5)
    assert asked == [(2 * _runtime.kernels.ELEMENTS_PER_THREAD, None), (3, 5)]


PARTS = {  # of a matrix's elements, in memory with gaps
    "C order": lambda a: a.copy(),
    "Fortran order": lambda a: a.copy(order="F"),
    "padded rows": lambda a: np.concatenate([a, a], axis=1)[:, : a.shape[1]],
    "every second element": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "every third row": lambda a: np.repeat(a, 3, axis=0)[::3],
    "padded columns": lambda a: np.concatenate([a.T, a.T], axis=1)[:, : a.shape[0]].T,
    "every second of columns": lambda a: np.repeat(np.repeat(a.T, 2, axis=1), 2, axis=0)[::2, ::2].T,
}


@pytest.mark.thread_unsafe(reason="changes _api for a while")
@every_form
@every_dtype
@pytest.mark.parametrize("shape", [(4, 8), (1, 30), (30, 1), (19, 40), (70, 5), (3, 3000)], ids=str)
def test_parts_of_matrices(isa, form, dtype, shape, rng):
    g, x = operands(rng, shape, dtype)
    for axis in (0, 1):
        expected = the_general_way(form, g, x, axis=axis).tobytes()
        for of_g, of_x in ((a, b) for a in PARTS for b in PARTS if form != "forward" or a == b):
            part_g, part_x = PARTS[of_g](g), PARTS[of_x](x)
            result = FORMS[form](part_g, part_x, axis=axis)
            assert result.tobytes() == expected
            of_a_ufunc = np.positive(part_x) if form == "forward" else np.add(part_g, part_x)
            assert result.strides == of_a_ufunc.strides
            with pytest.MonkeyPatch.context() as patch:
                patch.delattr(_api, "_convert_and_run")
                for of_out in ("C order", "Fortran order", of_g):
                    out = PARTS[of_out](np.zeros_like(x))
                    assert FORMS[form](part_g, part_x, axis=axis, out=out) is out
                    assert out.tobytes() == expected
                assert FORMS[form](part_g, part_x, axis=axis, out=part_x).tobytes() == expected


# ------------------------------------------------------------------------------- references and threads


@counts_references
@every_dtype
@pytest.mark.parametrize("order", ["C", "F"])
def test_no_reference_is_kept_or_lost(dtype, order, rng):
    g, x = operands(rng, (4, 8), dtype, order)
    out, small = np.empty_like(g), g[:1].copy()
    objects = (g, x, out, g.dtype, np.empty, fastlsm._api.threads_for)
    gc.collect()
    before = list(map(sys.getrefcount, objects))
    for _ in range(200):
        result = fastlsm.log_softmax_backward(g, dst=x)
        assert fastlsm.log_softmax_backward(g, x, out=out) is out
        fastlsm.log_softmax(x, dtype=dtype)
        for kwargs, error in (
            ({"num_threads": 0}, ValueError),
            ({"num_threads": "1"}, TypeError),
            ({"axis": 2}, np.exceptions.AxisError),
            ({"axis": 1.5}, TypeError),
            ({"dtype": "nonsense"}, TypeError),
            ({"out": small}, ValueError),
        ):
            with pytest.raises(error):
                fastlsm.log_softmax_backward(g, x, **kwargs)
        with pytest.raises(ValueError, match="same shape"):
            fastlsm.log_softmax_backward(g, small)
    assert sys.getrefcount(result) == 2
    del result
    gc.collect()
    assert list(map(sys.getrefcount, objects)) == before


@counts_references
def test_no_memory_is_kept(rng):
    g, x = operands(rng, (4, 8), FLOAT32)
    out, axis_out_of_bounds, no_integer = np.empty_like(g), 2, 1.5

    def calls():
        for _ in range(1000):
            fastlsm.log_softmax_backward(g, dst=x)
            fastlsm.log_softmax_backward(g, dst=x, out=out)
            answered(g, x, no_integer)
            with suppress(np.exceptions.AxisError):
                answered(g, x, axis_out_of_bounds)

    calls()
    tracemalloc.start()
    try:
        calls()
        assert tracemalloc.get_traced_memory()[0] < 2000
    finally:
        tracemalloc.stop()


@every_form
@every_dtype
def test_small_calls_from_many_threads(form, dtype, rng):
    """The operands are everybody's, the results each thread's own."""
    g, x = operands(rng, (4, 8), dtype)
    expected = FORMS[form](g, x).tobytes()

    def repeat(_):
        out = np.empty_like(x)
        return all(
            FORMS[form](g, x).tobytes() == expected and FORMS[form](g, x, out=out).tobytes() == expected
            for _ in range(300)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(repeat, range(16)))
