"""Contract, dtypes: what is accepted, what it becomes, and what is refused by name."""

import subprocess
import sys
from decimal import Decimal

import ml_dtypes
import numpy as np
import pytest
import reference
from reference import BOUND, DTYPES

import fastlsm

FLOAT32, FLOAT16, FLOAT64 = np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.float64)


def expected_dtype(a, b):
    if a == b:
        return a
    if FLOAT64 in (a, b):
        return FLOAT64
    return FLOAT32


@pytest.mark.parametrize("first", DTYPES, ids=str)
@pytest.mark.parametrize("second", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(40, 7), (5, 300)], ids=str)
def test_every_mixture(isa, first, second, shape, rng):
    g, x = rng.normal(size=shape).astype(first), rng.normal(size=shape).astype(second)
    y = reference.softmax(x)
    expected, at = reference.backward_from_softmax(g, y), reference.largest(g, y)
    result = fastlsm.log_softmax_backward(g, x)
    assert result.dtype == expected_dtype(first, second)
    assert reference.ulp_error(result, expected, at) <= BOUND[result.dtype]
    for dtype in DTYPES:
        result = fastlsm.log_softmax_backward(g, x, dtype=dtype)
        assert result.dtype == dtype
        assert reference.ulp_error(result, expected, at) <= BOUND[dtype]
        out = np.empty(shape, dtype)
        assert fastlsm.log_softmax_backward(g, x, out=out, dtype=np.float32) is out
        assert np.array_equal(out, result)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_arithmetic_is_float64_where_the_result_is(isa, dtype, rng):
    x = rng.normal(size=(3, 50)).astype(dtype)
    result = fastlsm.log_softmax(x, dtype=np.float64)
    expected = reference.log_softmax(x)
    assert reference.ulp_error(result, expected, expected) <= 2


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64, bool], ids=lambda t: t.__name__)
def test_integers_and_bools_go_to_float64(dtype):
    x = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    for result in (fastlsm.log_softmax(x), fastlsm.log_softmax_backward(x, x), fastlsm.log_softmax_backward(x, dst=x)):
        assert result.dtype == np.float64
    expected = reference.log_softmax(x.astype(np.float64))
    assert np.allclose(fastlsm.log_softmax(x), expected.astype(float), rtol=1e-15)


@pytest.mark.parametrize("x", [[[0, 1], [2, 3]], [[0.0, 1.0], [2.0, 3.0]], ([0, 1], (2.5, True))], ids=repr)
def test_lists_go_to_float64(x):
    result = fastlsm.log_softmax_backward(x, x)
    assert result.dtype == np.float64
    expected = reference.backward_src(np.asarray(x, float), np.asarray(x, float))
    assert np.allclose(result, expected.astype(float), rtol=1e-15)


REFUSED = [
    np.zeros((2, 3), np.complex64),
    np.zeros((2, 3), np.longdouble),
    np.zeros((2, 3), object),
    np.full((2, 3), "x"),
    np.full((2, 3), b"x"),
    np.zeros((2, 3), "M8[s]"),
    np.zeros((2, 3), "m8[s]"),
    np.zeros((2, 3), "f4,f4"),
    np.zeros((2, 3), ml_dtypes.float8_e5m2),
    np.zeros((2, 3), ml_dtypes.int4),
    np.zeros((2, 3), "V2"),
]


@pytest.mark.parametrize("x", REFUSED, ids=lambda x: str(x.dtype))
def test_other_dtypes_are_refused_by_name(x):
    good = np.ones((2, 3))
    name = str(x.dtype)
    for call, argument in (
        (lambda: fastlsm.log_softmax(x), "src"),
        (lambda: fastlsm.log_softmax_backward(x, good), "diff_dst"),
        (lambda: fastlsm.log_softmax_backward(good, x), "src"),
        (lambda: fastlsm.log_softmax_backward(good, dst=x), "dst"),
        (lambda: fastlsm.log_softmax(good, out=x), "out"),
        (lambda: fastlsm.log_softmax(good, dtype=x.dtype), "the result"),
    ):
        with pytest.raises(TypeError) as error:
            call()
        assert str(error.value) == (
            f"{argument} has dtype {name}; supported are float32, bfloat16, float16 and float64"
        )


def test_objects_and_nothing_are_refused():
    for x in ([[Decimal(1), 2.0]], [["a", "b"]], {1: 2}, {1, 2}, object(), lambda: 1):
        with pytest.raises(TypeError, match="src has dtype"):
            fastlsm.log_softmax(x)
    with pytest.raises(TypeError, match="src must be an array; got None"):
        fastlsm.log_softmax(None)
    with pytest.raises(TypeError, match="diff_dst must be an array; got None"):
        fastlsm.log_softmax_backward(None, [1.0])
    with pytest.raises(TypeError, match="not understood"):
        fastlsm.log_softmax([1.0], dtype="nonsense")
    with pytest.raises(TypeError, match="the result has dtype int64"):
        fastlsm.log_softmax([1.0], dtype=np.int64)


def test_masked_arrays_are_refused():
    masked = np.ma.masked_array(np.zeros((2, 3)), mask=np.eye(2, 3))
    good = np.ones((2, 3))
    for call in (
        lambda: fastlsm.log_softmax(masked),
        lambda: fastlsm.log_softmax_backward(masked, good),
        lambda: fastlsm.log_softmax_backward(good, masked),
        lambda: fastlsm.log_softmax_backward(good, dst=masked),
        lambda: fastlsm.log_softmax(good, out=masked),
    ):
        with pytest.raises(TypeError, match="without a mask; got MaskedArray"):
            call()
    assert not masked.data.any()

    class Holder:
        def __array__(self, dtype=None, copy=None):
            return masked

    with pytest.raises(TypeError, match="src must be an array without a mask; got Holder"):
        fastlsm.log_softmax(Holder())


def test_subclasses_give_plain_arrays(rng):
    x = rng.normal(size=(2, 3))
    result = fastlsm.log_softmax(x.view(np.matrix))
    assert type(result) is np.ndarray
    assert np.array_equal(result, fastlsm.log_softmax(x))


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", np.dtype(ml_dtypes.bfloat16).newbyteorder(">")], ids=str)
def test_byte_swapped_operands_and_results(isa, dtype, rng):
    native = np.dtype(dtype).newbyteorder("=")
    g, x = rng.normal(size=(5, 9)).astype(native), rng.normal(size=(5, 9)).astype(native)
    expected = fastlsm.log_softmax_backward(g, x)
    result = fastlsm.log_softmax_backward(g.astype(dtype), x.astype(dtype))
    assert result.dtype == native
    assert result.dtype.isnative
    assert np.array_equal(result, expected)
    assert fastlsm.log_softmax(x, dtype=dtype).dtype.isnative
    out = np.zeros(x.shape, dtype)
    assert fastlsm.log_softmax_backward(g, x, out=out) is out
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_unaligned_operands_and_results(isa, dtype, rng):
    def unaligned(a):
        raw = np.zeros(a.nbytes + 1, np.uint8)
        view = raw[1:].view(a.dtype).reshape(a.shape)
        view[...] = a
        assert not view.flags.aligned
        return view

    g, x = rng.normal(size=(5, 9)).astype(dtype), rng.normal(size=(5, 9)).astype(dtype)
    expected = fastlsm.log_softmax_backward(g, x)
    assert np.array_equal(fastlsm.log_softmax_backward(unaligned(g), unaligned(x)), expected)
    out = unaligned(np.zeros_like(x))
    assert fastlsm.log_softmax_backward(g, x, out=out) is out
    assert np.array_equal(out, expected)


def test_ml_dtypes_is_not_imported():
    code = "import sys, fastlsm; fastlsm.log_softmax([1.0], dtype='f2'); assert 'ml_dtypes' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd="/")
