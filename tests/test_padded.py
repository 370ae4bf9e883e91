"""Rows that do not touch each other: the answer is the adjacent rows', in every bit, and what is between stays."""

import numpy as np
import pytest
import reference

import fastlsm
from fastlsm import _api, _caches, _runtime

FORMS = {
    "forward": lambda g, x, **kw: fastlsm.log_softmax(x, **kw),
    "src": lambda g, x, **kw: fastlsm.log_softmax_backward(g, x, **kw),
    "dst": lambda g, x, **kw: fastlsm.log_softmax_backward(g, dst=x, **kw),
}
LENGTHS = [1, 2, 3, 4, 5, 8, 9, 16, 21, 31, 33, 47, 200]
every_form = pytest.mark.parametrize("form", FORMS)
every_dtype = pytest.mark.parametrize("dtype", reference.DTYPES, ids=str)

LAYOUTS = {  # of rows of n elements, in memory that has 7 more elements a row and twice as many rows
    "padded": lambda a, n: a[: len(a) // 2, :n],
    "offset": lambda a, n: a[1 : len(a) // 2 + 1, 3 : n + 3],
    "every second": lambda a, n: a.reshape(-1)[: len(a) * n].reshape(len(a), n)[::2],
    "backwards": lambda a, n: a[: len(a) // 2, :n][::-1],
    "in blocks": lambda a, n: a[: len(a) // 4 * 4].reshape(4, -1, n + 7)[:, : len(a) // 8, :n],
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def bits(a):
    """The bytes, of one NaN for all."""
    return np.where(np.isnan(a), np.full((), np.nan, a.dtype), a).tobytes()


def empty(rows, n, dtype, layout):
    """An array of such rows, and all the memory that it is a view of. What is between the rows is NaN."""
    memory = np.full((2 * rows, n + 7), np.nan, dtype)
    return LAYOUTS[layout](memory, n), memory


def laid(a, layout):
    """The rows of a, so laid out."""
    view = empty(len(a), a.shape[1], a.dtype, layout)[0]
    view[...] = a.reshape(view.shape)
    return view


def problem(rng, rows, n, dtype, form):
    g, x = rng.normal(size=(2, rows, n)).astype(dtype)
    x[rows // 2, 0] += dtype.type(30)  # one sure row
    return g, fastlsm.log_softmax(x) if form == "dst" else x


def check(form, g, x, layouts, num_threads=1):
    """g, x and the result in layouts, or as adjacent rows where the layout is None."""
    expected = bits(FORMS[form](g, x, num_threads=1))
    g, x = (a if layout is None else laid(a, layout) for a, layout in zip((g, x), layouts[:2], strict=True))
    shape = (g if layouts[1] is None else x).shape
    if layouts[2] is None:
        out = memory = np.empty(shape, x.dtype)
    else:
        out, memory = empty(x.size // x.shape[-1], x.shape[-1], x.dtype, layouts[2])
    FORMS[form](g.reshape(out.shape), x.reshape(out.shape), out=out, num_threads=num_threads)
    assert bits(out) == expected
    out[...] = np.nan
    assert np.isnan(memory).all()


@every_form
@every_dtype
class TestEachForm:
    @every_layout
    def test_is_as_adjacent_rows(self, isa, rng, layout, dtype, form):
        for n in LENGTHS:
            for rows in (20, 400):
                check(form, *problem(rng, rows, n, dtype, form), [layout] * 3)

    def test_one_operand_or_the_result_alone(self, isa, rng, dtype, form):
        for n in (3, 7, 21):
            g, x = problem(rng, 160, n, dtype, form)
            for some in np.eye(3, dtype=bool):
                check(form, g, x, ["padded" if padded else None for padded in some])
            check(form, g, x, ["padded", "offset", "backwards"])

    @every_layout
    def test_in_place(self, isa, rng, layout, dtype, form):
        for n in (1, 3, 7, 21):
            g, x = problem(rng, 400, n, dtype, form)
            expected = bits(FORMS[form](g, x))
            over_g, over_x = laid(g, layout), laid(x, layout)
            assert bits(FORMS[form](laid(g, layout), over_x, out=over_x)) == expected
            if form != "forward":
                assert bits(FORMS[form](over_g, laid(x, layout), out=over_g)) == expected

    def test_operands_whose_rows_overlap(self, isa, rng, dtype, form):
        for n in (3, 7, 21):
            g, x = (
                np.lib.stride_tricks.sliding_window_view(a.reshape(-1), n)[:100]
                for a in rng.normal(size=(2, 200)).astype(dtype)
            )
            expected = bits(FORMS[form](np.ascontiguousarray(g), np.ascontiguousarray(x)))
            assert bits(FORMS[form](g, x)) == expected
            one = np.broadcast_to(g[0], g.shape)
            assert bits(FORMS[form](one, x)) == bits(FORMS[form](one.copy(), np.ascontiguousarray(x)))

    def test_beside_another_operand_in_one_array(self, isa, rng, dtype, form):
        g, x = problem(rng, 300, 7, dtype, form)
        memory = np.concatenate([g, x, np.zeros_like(x)], axis=1)
        for num_threads in (1, 2):
            FORMS[form](memory[:, :7], memory[:, 7:14], out=memory[:, 14:], num_threads=num_threads)
            assert bits(memory) == bits(np.concatenate([g, x, FORMS[form](g, x)], axis=1))

    def test_special_values(self, isa, rng, dtype, form):
        g, x = problem(rng, 100, 7, dtype, form)
        x[3, 2], x[4, 1], x[5] = np.nan, -np.inf, -np.inf
        x[6, 6] = 3 if form == "dst" else np.inf  # the dst form's step cannot do the 3
        g[7, 0], g[8, 5], g[9, 3] = np.inf, np.nan, 1e4
        check(form, g, x, ["padded"] * 3)

    def test_two_threads(self, isa, rng, dtype, form):
        check(form, *problem(rng, 20_000, 7, dtype, form), ["padded"] * 3, num_threads=2)


@pytest.mark.thread_unsafe(reason="sets the caches of the process")
@every_form
@every_dtype
@every_layout
def test_results_past_the_caches(isa, rng, layout, dtype, form):
    """Short rows go through the caches, and longer ones past them."""
    kernels = _api.kernels
    kernels.set_caches(**_caches.limits(2 << 20) | {"ahead_from": 0, "far_from": 0})
    try:
        for n in (7, 50, 1000, 2100):
            check(form, *problem(rng, 40, n, dtype, form), [layout] * 3)
            check(form, *problem(rng, 40, n, dtype, form), [layout, None, layout])
    finally:
        kernels.set_caches(**_caches.limits(_runtime.second_level_cache[0]))
