"""Contract, out=: what may be written to, aliasing, and that a refused call writes nothing."""

import numpy as np
import pytest
from reference import DTYPES, bfloat16

import fastlsm


@pytest.fixture
def g(rng):
    return rng.normal(size=(6, 100)).astype(np.float32)


@pytest.fixture
def x(rng):
    return rng.normal(size=(6, 100)).astype(np.float32)


def forms(g, x):
    """Each call as a function of its keywords, and which operand it has."""
    return [
        (lambda **kw: fastlsm.log_softmax(x, **kw), [x]),
        (lambda **kw: fastlsm.log_softmax_backward(g, x, **kw), [g, x]),
        (lambda **kw: fastlsm.log_softmax_backward(g, dst=x, **kw), [g, x]),
    ]


def test_the_same_object_is_returned(isa, g, x):
    for call, _ in forms(g, x):
        for dtype in DTYPES:
            out = np.empty(x.shape, dtype)
            assert call(out=out) is out
            assert np.array_equal(out, call(dtype=dtype))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1])
def test_an_operand_may_be_the_result(isa, g, x, order, axis):
    for i in range(3):
        for k in range(len(forms(g, x)[i][1])):
            expected = forms(g, x)[i][0](axis=axis)
            operands = [np.array(a, order=order) for a in (g, x)]
            call, own = forms(*operands)[i]
            assert call(axis=axis, out=own[k]) is own[k]
            assert np.array_equal(own[k], expected)


@pytest.mark.parametrize("shift", [1, 7, 100, 101, 350])
@pytest.mark.parametrize("which", [0, 1])
def test_partly_overlapping_memory_is_as_separate_memory(isa, g, x, shift, which):
    expected = fastlsm.log_softmax_backward(g, x)
    for backwards in (False, True):
        memory = np.empty(600 + shift, np.float32)
        operand, out = memory[:600].reshape(6, 100), memory[shift:].reshape(6, 100)
        if backwards:
            operand, out = out, operand
        operand[...] = (g, x)[which]
        operands = [operand if i == which else a for i, a in enumerate((g, x))]
        assert fastlsm.log_softmax_backward(*operands, out=out) is out
        assert np.array_equal(out, expected)


def test_the_same_memory_in_another_order(isa, rng):
    x = rng.normal(size=(50, 50))
    expected = fastlsm.log_softmax(x)
    assert np.array_equal(fastlsm.log_softmax(x, out=x.T), expected)


def test_the_same_memory_in_another_dtype(isa, rng):
    memory = rng.normal(size=(8, 64)).astype(np.float32)
    expected = fastlsm.log_softmax(memory[:, :32], dtype=np.float64)
    out = memory.view(np.float64)
    fastlsm.log_softmax(memory[:, :32], out=out)
    assert np.array_equal(out, expected)


def test_interleaved_memory_is_not_overlap(isa, rng):
    memory = rng.normal(size=(8, 200))
    expected = fastlsm.log_softmax(memory[:, ::2])
    kept = memory[:, ::2].copy()
    fastlsm.log_softmax(memory[:, ::2], out=memory[:, 1::2])
    assert np.array_equal(memory[:, 1::2], expected)
    assert np.array_equal(memory[:, ::2], kept)


SELF_OVERLAPPING = {
    "one row for all": ((4, 300), (0, 8)),
    "windows": ((40, 30), (8, 8)),
    "windows backwards": ((40, 30), (-16, 8)),
    "one number for all": ((5, 7), (0, 0)),
    "three axes": ((4, 5, 6), (48, 24, 8)),
}


@pytest.mark.parametrize("case", SELF_OVERLAPPING)
@pytest.mark.parametrize("which", ["forward", "diff_dst", "src", "neither"])
def test_an_out_whose_elements_overlap(isa, case, which, rng):
    """As with a ufunc, one of the values that belong there remains: also where it is an operand, read before it is
    written."""
    shape, strides = SELF_OVERLAPPING[case]
    memory = rng.normal(size=1000)
    out = np.lib.stride_tricks.as_strided(memory[400:], shape, strides)
    g, x = rng.normal(size=(2, *shape))
    if which == "diff_dst":
        g = out
    if which in ("src", "forward"):
        x = out
    before = memory.copy()
    if which == "forward":
        expected = fastlsm.log_softmax(x.copy())
        assert fastlsm.log_softmax(x, out=out) is out
    else:
        expected = fastlsm.log_softmax_backward(g.copy(), x.copy())
        assert fastlsm.log_softmax_backward(g, x, out=out) is out
    places = np.lib.stride_tricks.as_strided(np.arange(1000)[400:], shape, strides)
    for place in np.unique(places):
        assert memory[place] in expected[places == place]
    elsewhere = np.setdiff1d(np.arange(1000), places)
    assert np.array_equal(memory[elsewhere], before[elsewhere])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a[:, ::2], lambda a: a.T])
def test_any_strides_may_be_written(isa, layout, dtype, rng):
    out = layout(rng.normal(size=(60, 80)).astype(dtype))
    around = out.base.copy() if out.base is not None else None
    x = rng.normal(size=out.shape).astype(dtype)
    fastlsm.log_softmax(x, out=out)
    assert np.array_equal(out, fastlsm.log_softmax(x))
    if out.size < around.size:  # what lies between the elements is as it was
        assert np.array_equal(out.base[:, 1::2], around[:, 1::2])


def test_subclasses_are_returned_as_they_are(x, tmp_path):
    mapped = np.memmap(tmp_path / "out", np.float32, "w+", shape=x.shape)
    assert fastlsm.log_softmax(x, out=mapped) is mapped
    assert np.array_equal(mapped, fastlsm.log_softmax(x))
    matrix = np.asarray(np.zeros(x.shape, np.float32)).view(np.matrix)
    assert fastlsm.log_softmax(x, axis=0, out=matrix) is matrix
    assert np.array_equal(matrix, fastlsm.log_softmax(x, axis=0))


def read_only(shape):
    a = np.full(shape, 7, np.float32)
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (read_only((6, 100)), ValueError, "^out: output array is read-only$"),
        (
            np.full((6, 99), 7.0),
            ValueError,
            r"^out: non-broadcastable output operand with shape \(6, 99\) doesn't match the shape \(6, 100\)",
        ),
        (np.full((100, 6), 7.0), ValueError, r"shape \(100, 6\) doesn't match the shape \(6, 100\)"),
        (np.full((1, 6, 100), 7.0), ValueError, r"shape \(1, 6, 100\) doesn't match"),
        (np.full((6, 100), 7, np.int32), TypeError, "out has dtype int32; supported are"),
        (np.full((6, 100), 7, np.complex128), TypeError, "out has dtype complex128; supported are"),
        ([[7.0] * 100] * 6, TypeError, "^out must be a NumPy array; got list"),
        (7.0, TypeError, "^out must be a NumPy array; got float"),
        ((np.full((6, 100), 7.0),), TypeError, "^out must be a NumPy array; got tuple"),
    ],
    ids=lambda v: None,
)
def test_what_may_not_be_written(g, x, out, error, message):
    before = np.array(out, copy=True)
    for call, _ in forms(g, x):
        with pytest.raises(error, match=message):
            call(out=out)
    assert np.array_equal(out, before)


REFUSED = {
    "axis out of bounds": ({"axis": 2}, {}),
    "axis no integer": ({"axis": 1.5}, {}),
    "bool axis": ({"axis": True}, {}),
    "dtype": ({"dtype": np.int32}, {}),
    "num_threads 0": ({"num_threads": 0}, {}),
    "num_threads no integer": ({"num_threads": 2.0}, {}),
    "shape": ({}, {"x": np.zeros((6, 99), np.float32)}),
    "operand dtype": ({}, {"x": np.zeros((6, 100), complex)}),
    "ragged list": ({}, {"x": [[1.0], [1.0, 2.0]]}),
    "masked": ({}, {"x": np.ma.array(np.zeros((6, 100)), mask=True)}),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("dtype", [np.float32, bfloat16], ids=str)
def test_a_refused_call_leaves_every_array_as_it_was(g, x, case, dtype):
    kwargs, other = REFUSED[case]
    out = np.full((6, 100), 7, dtype)
    second = other.get("x", x)
    arrays = [a for a in (g, x, out, second) if isinstance(a, np.ndarray)]
    before = [np.array(a) for a in arrays]
    for form in ("src", "dst"):
        with pytest.raises((TypeError, ValueError)) as error:
            fastlsm.log_softmax_backward(g, **{form: second}, out=out, **kwargs)
        assert not any(word in str(error.value) for word in ("Buffer", "buffer", "memoryview", "Cython"))
    for a, copy in zip(arrays, before, strict=True):
        assert np.array_equal(np.asarray(a), copy)
