"""Contract, Shapes, axis, layout: which axes a row runs along, one or several."""

import itertools

import numpy as np
import pytest
from calls import FORMS, backwards, every_dtype, every_form, operands
from hypothesis import given
from hypothesis import strategies as st
from reference import DTYPES
from test_memory import SCRATCH, counts_memory, peak_of
from views import views

import fastlsm
from fastlsm import _runtime

MOST_AXES = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32


def named(axis, ndim):
    """The axes that `axis` names, in C order."""
    return sorted(range(ndim) if axis is None else {d % ndim for d in axis})


def along_one_axis(call, g, x, axis):
    """The answer by rows: copies of the operands in which the axes are one, the last."""
    along = named(axis, x.ndim)
    order = [d for d in range(x.ndim) if d not in along] + along
    kept = [x.shape[d] for d in range(x.ndim) if d not in along]
    rows = (a.transpose(order).reshape(*kept, -1).copy() for a in (g, x))
    return call(*rows).reshape([x.shape[d] for d in order]).transpose(np.argsort(order))


def same_bits(a, b):
    """But for the sign and payload of a NaN."""
    return a.dtype == b.dtype and np.array_equal(a.astype(np.float64), b.astype(np.float64), equal_nan=True)


@st.composite
def problems(draw):
    ndim = draw(st.integers(1, 5))
    most = {1: 60, 2: 40, 3: 12, 4: 6, 5: 4}[ndim]
    shape = draw(st.lists(st.integers(1, most), min_size=ndim, max_size=ndim))
    dtype, other = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(DTYPES))
    g = draw(views(shape, dtype, 1))
    x = draw(views(shape, draw(st.sampled_from([dtype, other])), 2))
    axis = draw(st.none() | st.lists(st.integers(0, ndim - 1), unique=True).map(tuple))
    out = draw(st.sampled_from(["new", "given", "turned", "first operand", "second operand"]))
    return draw(st.sampled_from(list(FORMS))), g, x, axis, out


@given(problems(), st.randoms(use_true_random=False))
def test_several_axes_are_one(isa, problem, random):
    form, g, x, axis, alias = problem
    g, x = (a if a.flags.writeable else a.copy() if "operand" in alias else a for a in (g, x))
    out = {
        "new": None,
        "given": np.empty(x.shape, g.dtype),
        "turned": np.empty(x.shape[::-1], g.dtype).T,
        "first operand": g,
        "second operand": x,
    }[alias]
    dtype = None if out is None else out.dtype
    expected = along_one_axis(lambda g, x: FORMS[form](g, x, dtype=dtype), g, x, axis)
    before = [a.copy() for a in (g, x)]
    spelt = axis
    if axis:  # in another order, some counted from the last, sometimes a list
        spelt = [d - x.ndim * random.randrange(2) for d in random.sample(axis, len(axis))]
        spelt = spelt if random.randrange(2) else tuple(spelt)
    result = FORMS[form](g, x, axis=spelt, out=out)
    assert same_bits(result, expected)
    if out is None:
        assert type(result) is np.ndarray
        assert result.strides == FORMS[form](g, x).strides
    else:
        assert result is out
    for a, copy in zip((g, x), before, strict=True):
        assert a is out or np.array_equal(a, copy)


@every_form
@every_dtype
def test_one_axis_as_a_tuple(nothing_else, form, dtype, rng):
    g, x = operands(rng, (3, 4, 5), dtype)
    for axis in range(-3, 3):
        assert same_bits(FORMS[form](g, x, axis=(axis,)), FORMS[form](g, x, axis=axis))


@every_form
@every_dtype
def test_no_axis_makes_each_element_a_row(isa, form, dtype, rng):
    g, x = operands(rng, (3, 40), dtype)
    for a, b in ((g, x), (backwards(g), x.T.copy().T)):
        result = FORMS[form](a, b, axis=())
        assert same_bits(result, FORMS[form](g[..., np.newaxis], x[..., np.newaxis])[..., 0])
        if form != "dst":
            assert not result.astype(float).any()
    x[0, :3] = -np.inf, np.nan, np.inf
    lost = np.isnan(FORMS[form](g, x, axis=()).astype(float))
    assert not lost[1:].any()
    assert list(lost[0, :4]) == [form != "dst", True, form != "dst", False]


@every_form
def test_0d_operands(form):
    for axis in (None, ()):
        result = FORMS[form](2.0, np.float32(-1), axis=axis)
        assert type(result) is np.ndarray
        assert result.shape == ()
        assert result == (2 - 2 * np.exp(-1.0) if form == "dst" else 0)
    out = np.ones((), np.float32)
    assert FORMS[form](2.0, -1.0, axis=None, out=out) is out


@every_form
def test_numpys_most_axes(form, rng):
    g, x = (rng.normal(size=[2] * 6 + [1] * (MOST_AXES - 6)) for _ in range(2))
    for axis in [(), (0, 1), (1, 4, MOST_AXES - 1), None, (0, 5)]:
        expected = FORMS[form](g.ravel(), x.ravel(), axis=()) if axis == () else along_one_axis(FORMS[form], g, x, axis)
        assert same_bits(FORMS[form](g, x, axis=axis).ravel(), expected.ravel())


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (3, 0, 2)], ids=str)
def test_an_array_without_elements(shape):
    g, x = np.empty(shape, np.float32), np.empty(shape[::-1], np.float32).T
    for axis in (None, (), (0,), tuple(range(len(shape)))):
        assert fastlsm.log_softmax(x, axis).shape == shape
        assert fastlsm.log_softmax_backward(g, x, axis).shape == shape


# ----------------------------------------------------------------------------------------- memory and layout


def test_axes_that_are_one_in_memory():
    layout = _runtime.kernels.layout
    a = np.empty((2, 3, 4, 5), "f4")
    assert layout(a, a, a, (2, 3)) == layout(*[a.reshape(2, 3, 20)] * 3, 2)
    assert layout(a, a, a, (1, 2)) == layout(*[a.reshape(2, 12, 5)] * 3, 1)
    assert layout(a, a, a, None) == layout(*[a.reshape(-1)] * 3, 0)
    assert layout(a, a, a, (1, 3)) is None
    assert layout(a[:, :1], a[:, :1], a[:, :1], (1, 3)) == layout(*[a[:, 0]] * 3, 2)
    assert layout(a[:, ::2], a[:, ::2], a[:, ::2], (1, 2)) is None
    assert layout(a.T, a.T, a.T, (0, 1)) is None  # in C order they are not one
    number = np.broadcast_to(np.float32(1), a.shape)
    assert layout(number, a, a, (2, 3)) == layout(number.reshape(2, 3, 20), *[a.reshape(2, 3, 20)] * 2, 2)


@counts_memory
@pytest.mark.parametrize("axis", [(1, 2), (2, 1), (0, 1), None, ()], ids=str)
def test_axes_that_are_one_cost_no_copy(axis, rng):
    g, x = rng.normal(size=(2, 30, 40, 500))
    out = np.empty_like(x)
    assert peak_of(lambda: fastlsm.log_softmax(x, axis, out=out, num_threads=1)) < SCRATCH
    assert peak_of(lambda: fastlsm.log_softmax_backward(g, x, axis, out=g, num_threads=1)) < SCRATCH


@counts_memory
def test_axes_that_are_not_cost_one_copy_of_each(rng):
    g, x = rng.normal(size=(2, 30, 40, 500))
    out = np.empty_like(x)
    for call, copies in (
        (lambda: fastlsm.log_softmax(x, (0, 2), out=out, num_threads=1), 1),
        (lambda: fastlsm.log_softmax_backward(g, x, (0, 2), out=out, num_threads=1), 2),
        (lambda: fastlsm.log_softmax_backward(g, x, (0, 2), num_threads=1), 3),  # the result, too
    ):
        assert peak_of(call) < copies * x.nbytes + SCRATCH


# ----------------------------------------------------------------------------------------- what is no axis


@pytest.mark.parametrize("axis", [1, np.int8(1), np.uint64(1), np.array(1)], ids=repr)
def test_any_integer_is_an_axis(axis, rng):
    x = rng.normal(size=(3, 4))
    assert np.array_equal(fastlsm.log_softmax(x, axis), fastlsm.log_softmax(x, -1))


def test_any_index_object_is_an_axis(rng):
    class Axis:
        def __index__(self):
            return 0

    x = rng.normal(size=(3, 4))
    assert np.array_equal(fastlsm.log_softmax(x, Axis()), fastlsm.log_softmax(x, 0))


@pytest.mark.parametrize("axis", [-3, 2, 100, 10**30], ids=repr)
def test_an_axis_out_of_bounds(axis):
    with pytest.raises(np.exceptions.AxisError, match=f"^axis {axis} is out of bounds for array of dimension 2$"):
        fastlsm.log_softmax(np.zeros((2, 3)), axis)
    with pytest.raises(np.exceptions.AxisError, match=f"^axis {axis} is out of bounds for array of dimension 2$"):
        fastlsm.log_softmax_backward(np.zeros((2, 3)), np.zeros((2, 3)), axis)


def test_0d_operands_have_no_axis():
    with pytest.raises(np.exceptions.AxisError, match=r"^axis -1 is out of bounds for array of dimension 0$"):
        fastlsm.log_softmax(1.0)
    with pytest.raises(np.exceptions.AxisError, match=r"^axis 0 is out of bounds for array of dimension 0$"):
        fastlsm.log_softmax_backward(np.float32(1), np.float32(1), 0)


@pytest.mark.parametrize(
    "axis", [1.0, "1", True, np.True_, (0, 1.0), (False,), ((0, 1),), np.array([0]), {0}, 1j], ids=repr
)
def test_what_is_no_axis(axis):
    with pytest.raises(TypeError, match=r"^axis must be an integer, a tuple of integers or None; got "):
        fastlsm.log_softmax(np.zeros((2, 3)), axis)


@every_form
def test_an_axis_named_twice(form):
    a = np.zeros((2, 3, 4))
    for axis in ((0, 0), (1, -2), [0, 1, 0], (np.int64(2), 2)):
        with pytest.raises(ValueError, match=r"^duplicate value in 'axis'$"):
            FORMS[form](a, a, axis=axis)
        with pytest.raises(ValueError, match=r"^duplicate value in 'axis'$"):
            np.sum(a, tuple(axis))


@every_form
def test_one_of_several_axes_out_of_bounds(form):
    a = np.zeros((2, 3))
    for axis, bad in itertools.product(((0, 2), (2, 2), [-3, 0], (10**30,)), (a, a.tolist())):
        message = f"^axis {max(axis, key=abs)} is out of bounds for array of dimension 2$"
        with pytest.raises(np.exceptions.AxisError, match=message):
            FORMS[form](bad, a, axis=axis)
