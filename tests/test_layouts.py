"""Contract, Shapes, axis, layout: every shape, axis and stride against the twin, and the result's own order."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from reference import BOUND, DTYPES
from views import views

import fastlsm
from fastlsm import _runtime


@st.composite
def problems(draw):
    ndim = draw(st.integers(1, 6))
    most = {1: 300, 2: 100, 3: 25, 4: 9, 5: 5, 6: 4}[ndim]
    shape = draw(st.lists(st.integers(1, most), min_size=ndim, max_size=ndim))
    dtypes = st.sampled_from(DTYPES)
    form = draw(st.sampled_from(["forward", "src", "dst"]))
    g = draw(views(shape, draw(dtypes), 1))
    x = draw(views(shape, draw(dtypes), 2))
    axis = draw(st.integers(-ndim, ndim - 1))
    out = draw(st.sampled_from(["new", "dtype", "given", "first operand", "second operand"]))
    return form, g, x, axis, out, draw(dtypes)


def common(form, g, x):
    if form == "forward" or g.dtype == x.dtype:
        return x.dtype
    return np.result_type(*(np.float32 if a.dtype == reference.bfloat16 else a.dtype for a in (g, x)))


def call(form, g, x, axis, **kwargs):
    if form == "forward":
        return fastlsm.log_softmax(x, axis, **kwargs)
    if form == "src":
        return fastlsm.log_softmax_backward(g, x, axis, **kwargs)
    return fastlsm.log_softmax_backward(g, dst=x, axis=axis, **kwargs)


def expected_and_scale(form, g, x, axis):
    if form == "forward":
        expected = reference.log_softmax(x, axis)
        return expected, expected
    y = reference.softmax(x, axis) if form == "src" else reference.exp(x)
    return reference.backward_from_softmax(g, y, axis), reference.largest(g, y, axis)


@given(problems())
def test_any_layout_dtype_axis_form_and_alias(isa, problem):
    form, g, x, axis, alias, dtype = problem
    g, x = (a if a.flags.writeable else a.copy() if "operand" in alias else a for a in (g, x))
    expected, at = expected_and_scale(form, g, x, axis)
    before = [a.copy() for a in (g, x)]
    kwargs = {
        "new": {},
        "dtype": {"dtype": dtype},
        "given": {"out": np.empty(x.shape, dtype)},
        "first operand": {"out": g},
        "second operand": {"out": x},
    }[alias]
    result = call(form, g, x, axis, **kwargs)

    out = kwargs.get("out")
    assert out is None or result is out
    assert result.shape == x.shape
    assert result.dtype == (out.dtype if out is not None else kwargs.get("dtype", common(form, g, x)))
    for a, copy in zip((g, x), before, strict=True):
        assert a is out or np.array_equal(a, copy)
    bound = BOUND[result.dtype]
    # In float64 the twin's own error counts too where long double is not wider (0 on x86-64).
    assert reference.ulp_error(result, expected, at) <= bound


# ------------------------------------------------------------------------------------ how the kernels go


def places(strides, extents):
    """How far in memory each element is from the first."""
    return sum(
        (s * i for s, i in zip(strides, np.indices(extents, sparse=True), strict=True)),
        np.zeros(extents, int),
    )


def rows(strides, extents, axis):
    """The places of each row's elements, a row after the other in any order."""
    return np.moveaxis(places(strides, extents), axis, -1).reshape(-1, extents[axis])


def check_layout(arrays, axis):
    """Each row of each array is gone through once, its elements in order, at the same time as in the other arrays."""
    (outer, n, inner), strides, loops = _runtime.kernels.layout(*arrays, axis)
    shape = arrays[0].shape
    expected = np.concatenate([rows(a.strides, shape, axis) for a in arrays], axis=1)
    extents = [*(extent for extent, _ in loops), outer, inner, n]
    answer = np.concatenate(
        [
            rows([*(s[k] for _, s in loops), strides[k][0], strides[k][2], strides[k][1]], extents, -1)
            for k in range(len(arrays))
        ],
        axis=1,
    )
    assert sorted(map(tuple, answer)) == sorted(map(tuple, expected))
    # `outer` is the longest, the loops come in the order of their lengths, and of all `inner` is the nearest.
    assert [extent for extent, _ in loops] == sorted(extent for extent, _ in loops)
    assert all(1 < extent <= outer for extent, _ in loops)
    steps = [tuple(abs(s) for s in reversed(s)) for _, s in loops] + [tuple(abs(s[0]) for s in reversed(strides))]
    if inner > 1 and outer > 1:
        assert tuple(abs(s[2]) for s in reversed(strides)) <= min(steps)
    return (outer, n, inner), strides, loops


@given(problems(), st.permutations(range(6)))
def test_every_row_is_gone_through_once(problem, order):
    _, g, x, axis, _, dtype = problem
    order = [d for d in order if d < x.ndim]
    out = np.empty([x.shape[d] for d in order], dtype).transpose(np.argsort(order))
    check_layout([g, x, out], axis % x.ndim)
    check_layout([g, g, x], axis % x.ndim)


@pytest.mark.parametrize("shape", [(7,), (4, 8), (3, 5, 9), (2, 3, 4, 5), (1, 6, 1), (3, 1, 4), (1, 1)], ids=str)
def test_contiguous_arrays_have_no_loops(shape):
    """The axes before and behind: one of them is outer, the other inner."""
    for axis in range(len(shape)):
        before, n, behind = int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :]))
        for order in "CF":
            arrays = [np.empty(shape, dtype, order=order) for dtype in ("f4", "f2", "f8")]
            extents, strides, loops = check_layout(arrays, axis)
            assert not loops
            if n == 1:  # then both are one axis
                assert np.prod(extents) == before * behind
                continue
            outer, inner = (before, behind) if arrays[0].flags.c_contiguous else (behind, before)
            assert extents == (outer, n, inner)
            for a, (along_outer, along_n, along_inner) in zip(arrays, strides, strict=True):
                assert outer == 1 or along_outer == n * inner * a.itemsize
                assert along_n == inner * a.itemsize
                assert along_inner == a.itemsize


def test_layouts_by_hand():
    layout = _runtime.kernels.layout
    matrix = np.empty((4, 8))
    part = np.empty((9, 8))[::2][:4]
    assert layout(matrix, matrix, part, 1) == ((1, 8, 4), [(0, 8, 64), (0, 8, 64), (0, 8, 128)], [])
    # Arrays in channels-last order. Along the channels, they are matrices in C order.
    view = np.empty((2, 3, 4, 5), "f4").transpose(0, 3, 1, 2)
    assert layout(view, view, view, 1) == ((24, 5, 1), [(20, 4, 4)] * 3, [])
    assert layout(view, view, view, 2) == ((2, 3, 20), [(240, 80, 4)] * 3, [])
    # Reversed: its axes are one axis in it, but not in another.
    assert layout(view[::-1], view, view, 1) == ((2, 5, 12), [(-240, 4, 20), (240, 4, 20), (240, 4, 20)], [])
    # One number for all.
    number = np.broadcast_to(np.float32(1), view.shape)
    assert layout(number, view, view, 1) == ((24, 5, 1), [(0, 0, 0), (20, 4, 4), (20, 4, 4)], [])
    # Contrary orders: what does not merge is a loop.
    contrary = np.empty((2, 3, 4, 5, 6), "f4")
    assert layout(contrary.T, contrary.T, contrary.reshape(contrary.T.shape), 0) == (
        (5, 6, 2),
        [(24, 4, 1440), (24, 4, 1440), (96, 480, 4)],
        [(3, (480, 480, 8)), (4, (120, 120, 24))],
    )


def test_as_many_loops_as_there_can_be():
    """60 axes of two elements: NumPy allows no more, whether it allows 64 axes or 32."""
    most = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
    many = min(60, most)
    shape = [2] * many + [1] * (most - many)
    x, contrary = (
        np.lib.stride_tricks.as_strided(np.float16(1), shape, steps)  # which nobody reads
        for steps in ([0] * most, [2 * (most - d) for d in range(most)])
    )
    extents, strides, loops = _runtime.kernels.layout(x, x, contrary, many - 1)
    assert extents == (2, 2, 2)
    assert [extent for extent, _ in loops] == [2] * (many - 3)
    last = contrary.strides[many - 1]
    assert strides == [(0, 0, 0), (0, 0, 0), (last + 4, last, last + 2)]
    assert [steps for _, steps in loops] == [(0, 0, step) for step in contrary.strides[: many - 3]]


@pytest.mark.parametrize("ndim", [7, 20, 32])
def test_many_dimensions(isa, ndim, rng):
    shape = [2 if d < 10 else 1 for d in range(ndim)]
    g = rng.normal(size=shape).transpose(rng.permutation(ndim))
    x = rng.normal(size=g.shape[::-1]).T
    for axis in (int(np.argmax(g.shape)), -1):
        expected, at = expected_and_scale("src", g, x, axis)
        assert reference.ulp_error(fastlsm.log_softmax_backward(g, x, axis), expected, at) <= 2


def test_numpys_most_dimensions(isa):
    most = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
    x = np.random.default_rng(3).normal(size=[2] * 8 + [1] * (most - 9) + [3])
    assert np.array_equal(fastlsm.log_softmax(x), fastlsm.log_softmax(x.reshape(-1, 3)).reshape(x.shape))
    assert np.array_equal(fastlsm.log_softmax(x, 20), np.zeros(x.shape))


def test_axes_that_do_not_merge(isa, rng):
    """Operands of contrary orders: most axes are left to the kernels' loops."""
    g = rng.normal(size=(3, 4, 5, 6, 7))
    x = rng.normal(size=(7, 3, 6, 4, 5)).transpose(1, 3, 4, 2, 0)
    out = np.empty((5, 7, 3, 6, 4)).transpose(2, 4, 0, 3, 1)
    for axis in range(5):
        expected, at = expected_and_scale("dst", g, x, axis)
        fastlsm.log_softmax_backward(g, dst=x, axis=axis, out=out)
        assert reference.ulp_error(out, expected, at) <= 2


@pytest.mark.parametrize("width", [1, 15, 16, 17, 127, 129, 511, 513, 1100])
@pytest.mark.parametrize("n", [2, 16, 17, 64, 65, 300])
def test_tile_edges(isa, width, n, rng):
    """Around the widths and lengths at which the kernels go another way."""
    for dtype in (np.float32, np.float64, np.float16):
        g, x = rng.normal(size=(2, n, width)).astype(dtype), rng.normal(size=(2, n, width)).astype(dtype)
        expected, at = expected_and_scale("src", g, x, 1)
        assert reference.ulp_error(fastlsm.log_softmax_backward(g, x, 1), expected, at) <= BOUND[g.dtype]
        turned = [np.ascontiguousarray(a.swapaxes(1, 2)) for a in (g, x)]
        assert np.array_equal(
            fastlsm.log_softmax_backward(*turned), fastlsm.log_softmax_backward(g, x, 1).swapaxes(1, 2)
        )


@pytest.mark.parametrize("n", [16384, 16385, 16424, 2 * 16384 + 3])
@pytest.mark.parametrize("form", ["forward", "src", "dst"])
def test_columns_of_more_than_a_part(isa, form, n, rng):
    """A column is summed in parts, whatever the last one's length."""
    for dtype in (np.float32, np.float64):
        g, x = rng.normal(size=(n, 18)).astype(dtype), rng.normal(-10, size=(n, 18)).astype(dtype)
        expected, at = expected_and_scale(form, g, x, 0)
        assert reference.ulp_error(call(form, g, x, 0), expected, at) <= BOUND[g.dtype]


ORDERS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "permuted": lambda a: a.transpose(1, 2, 0).copy().transpose(2, 0, 1),
    "reversed": lambda a: a[::-1, :, ::-1],
    "sliced": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "broadcast": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "scalar": lambda a: np.broadcast_to(a[0, 0, 0], a.shape),
}


@pytest.mark.parametrize("first", ORDERS)
@pytest.mark.parametrize("second", ORDERS)
def test_the_result_keeps_the_operands_order_as_a_ufunc_does(first, second, rng):
    a = rng.normal(size=(4, 6, 5))
    g, x = ORDERS[first](a), ORDERS[second](a)
    assert fastlsm.log_softmax_backward(g, x).strides == np.add(g, x).strides
    assert fastlsm.log_softmax(x).strides == np.positive(x).strides


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (3, 0, 2), (0, 0)])
def test_an_array_without_elements_gives_another(shape):
    for axis in range(-len(shape), len(shape)):
        for result in (
            fastlsm.log_softmax(np.empty(shape, np.float16), axis),
            fastlsm.log_softmax_backward(np.empty(shape, np.float16), np.empty(shape[::-1], np.float16).T, axis),
        ):
            assert result.shape == shape
            assert result.dtype == np.float16


def test_read_only_operands():
    g, x = np.ones((2, 3)), np.zeros((2, 3))
    g[0, 0] = 4
    g.flags.writeable = x.flags.writeable = False
    assert np.allclose(fastlsm.log_softmax_backward(g, x), reference.backward_src(g, x).astype(float))


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 1), (1, 3), (2, 3, 1)], ids=repr)
def test_nothing_is_broadcast(shape):
    with pytest.raises(ValueError, match=r"diff_dst and src must have the same shape; got \(2, 3\) and \("):
        fastlsm.log_softmax_backward(np.zeros((2, 3)), np.zeros(shape))
    with pytest.raises(ValueError, match=r"diff_dst and dst must have the same shape; got \(2, 3\) and \("):
        fastlsm.log_softmax_backward(np.zeros((2, 3)), dst=np.zeros(shape))
