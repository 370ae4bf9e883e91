"""Contract, dtypes: what is accepted, what it becomes, and what is refused by name."""

import subprocess
import sys
from decimal import Decimal

import ml_dtypes
import numpy as np
import pytest
import reference
from calls import FORMS, every_dtype, every_form
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
        (lambda: fastlsm.log_softmax(good, dtype=x.dtype), "dtype"),
    ):
        with pytest.raises(TypeError) as error:
            call()
        found = f"dtype is {name}" if argument == "dtype" else f"{argument} has dtype {name}"
        assert str(error.value) == f"{found}; supported are float32, bfloat16, float16 and float64"


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
    with pytest.raises(TypeError, match=r"^dtype is int64; supported are "):
        fastlsm.log_softmax([1.0], dtype=np.int64)


def test_masked_elements_are_refused():
    masked = np.ma.masked_array(np.zeros((2, 3)), mask=np.eye(2, 3))
    good = np.ones((2, 3))
    for call, name in (
        (lambda: fastlsm.log_softmax(masked), "src"),
        (lambda: fastlsm.log_softmax_backward(masked, good), "diff_dst"),
        (lambda: fastlsm.log_softmax_backward(good, masked), "src"),
        (lambda: fastlsm.log_softmax_backward(good, dst=masked), "dst"),
    ):
        with pytest.raises(TypeError, match=rf"^{name} has masked elements; \.filled\(-np\.inf\) leaves them out"):
            call()

    class Holder:
        def __array__(self, dtype=None, copy=None):
            return masked

    with pytest.raises(TypeError, match=r"^src has masked elements"):
        fastlsm.log_softmax(Holder())
    structured = np.ma.zeros((2, 3), dtype="f4,f4")
    structured.mask = True
    with pytest.raises(TypeError, match=r"^src has dtype "):
        fastlsm.log_softmax(structured)


@every_form
@pytest.mark.parametrize("mask", [False, np.ma.nomask, np.zeros((2, 3), bool)], ids=["False", "nomask", "zeros"])
def test_arrays_without_a_masked_element_are_taken(form, mask, rng):
    g, x = rng.normal(size=(2, 2, 3))
    result = FORMS[form](np.ma.array(g, mask=mask), np.ma.array(x, mask=mask))
    assert type(result) is np.ndarray
    assert np.array_equal(result, FORMS[form](g, x))


def test_filled_leaves_masked_classes_out(rng):
    """The way that the error names."""
    x = np.ma.array(rng.normal(size=(2, 4)), mask=[[0, 1, 0, 0], [0, 0, 0, 1]])
    result = fastlsm.log_softmax(x.filled(-np.inf))
    for row, values in zip(result, x, strict=True):
        assert np.allclose(row[~values.mask], fastlsm.log_softmax(values.compressed()))


def test_a_masked_out_is_refused():
    out = np.ma.zeros((2, 3))
    with pytest.raises(TypeError, match=r"^out must be an array without a mask; got MaskedArray, whose \.data is one$"):
        fastlsm.log_softmax(np.ones((2, 3)), out=out)
    assert not out.data.any()
    assert fastlsm.log_softmax(np.ones((2, 3)), out=out.data).all()


INTEGERS = [np.dtype(code) for code in "?bBhHiIlLqQ"]


@every_form
@pytest.mark.parametrize("integer", INTEGERS, ids=str)
@every_dtype
def test_integers_beside_floats_are_promoted_as_numpy_does(form, integer, dtype, rng):
    whole, x = rng.integers(0, 2, size=(4, 9)).astype(integer), rng.normal(size=(4, 9)).astype(dtype)
    try:
        common = np.result_type(integer, dtype)
    except TypeError:  # NumPy has none for bfloat16 beside more than 8 bits
        common = np.result_type(integer, np.float16)
    for g, y in ((whole, x), (x, whole)):
        promoted = [a.astype(common) if a is whole else a for a in (g, y)]
        result = FORMS[form](g, y)
        if form == "forward":
            assert result.dtype == (np.float64 if y is whole else dtype)
        else:
            assert result.dtype == common
            assert result.tobytes() == FORMS[form](*promoted).tobytes()


def test_integers_alone_are_float64():
    for integer in INTEGERS:
        a = np.ones((2, 3), integer)
        assert fastlsm.log_softmax_backward(a, a).dtype == np.float64
        assert fastlsm.log_softmax_backward(a, [[1, 2, 3], [4, 5, 6]]).dtype == np.float64
        assert fastlsm.log_softmax_backward(a, a, dtype=np.float32).dtype == np.float32


def test_integers_beside_what_is_refused():
    with pytest.raises(TypeError, match=r"^src has dtype complex64; "):
        fastlsm.log_softmax_backward(np.ones((2, 3), int), np.ones((2, 3), np.complex64))


@pytest.mark.parametrize("axis", [-1, 0, None])
def test_labels_instead_of_the_gradient(axis):
    src = np.zeros((4, 3), np.float32)
    for labels in (np.array([0, 2, 1, 1]), [0, 2, 1, 1], np.zeros(4, np.uint8)):
        for form, name in (("src", "src"), ("dst", "dst")):
            with pytest.raises(ValueError, match=rf"^diff_dst and {name} must have the same shape.* holds labels"):
                FORMS[form](labels, src, axis=axis)
    for no_labels in (np.zeros(4), np.zeros(4, bool), np.zeros((4, 1), int)):
        with pytest.raises(ValueError, match=r"^diff_dst and src must have the same shape; got \S+ \S* ?and \(4, 3\)$"):
            fastlsm.log_softmax_backward(no_labels, src, axis)


def test_errors_of_numpys_name_the_argument():
    with pytest.raises(ValueError, match=r"^dst: setting an array element with a sequence"):
        fastlsm.log_softmax_backward([1.0], dst=[[1.0], [1.0, 2.0]])
    with pytest.raises(TypeError, match=r"^dtype: "):
        fastlsm.log_softmax([1.0], dtype="nonsense")


def test_a_tensor_of_bfloat16_is_told_the_view():
    class Tensor:
        """As PyTorch's, which is not installed everywhere."""

        dtype = type("", (), {"__repr__": lambda self: "torch.bfloat16"})()

        def __array__(self, dtype=None, copy=None):
            raise TypeError("Got unsupported ScalarType BFloat16")

    with pytest.raises(
        TypeError, match=r"^src is a tensor of torch\.bfloat16.*: src\.detach\(\)\.view\(torch\.int16\)"
    ):
        fastlsm.log_softmax(Tensor())


def test_a_tensor_of_bfloat16_by_the_view(rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, 3)).astype(ml_dtypes.bfloat16)
    tensor = torch.tensor(x.astype(np.float32), requires_grad=True).to(torch.bfloat16)
    with pytest.raises(TypeError) as error:
        fastlsm.log_softmax(tensor)
    way = str(error.value).rpartition(": ")[2]
    assert np.array_equal(
        fastlsm.log_softmax(eval(way, {"src": tensor, "torch": torch, "ml_dtypes": ml_dtypes})), fastlsm.log_softmax(x)
    )


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
