"""Contract, One row, one answer: a row's bits depend on its values, length and dtypes, and on nothing else."""

import conftest
import numpy as np
import pytest
from reference import DTYPES, bfloat16

import fastlsm
from fastlsm import _api

LENGTHS = [1, 2, 3, 7, 10, 16, 17, 31, 64, 65, 100, 255, 256, 257, 1000, 4097, 16384, 16385, 32771, 128256]
FORMS = {
    "forward": lambda g, x, axis, **kw: fastlsm.log_softmax(x, axis, **kw),
    "src": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, x, axis, **kw),
    "dst": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, dst=x, axis=axis, **kw),
}
MIXTURES = [(t, t) for t in DTYPES] + [(bfloat16, np.dtype(np.float32)), (np.dtype(np.float16), np.dtype(np.float64))]

every_form = pytest.mark.parametrize("form", FORMS)
every_mixture = pytest.mark.parametrize("dtypes", MIXTURES, ids=lambda m: f"{m[0]}-{m[1]}")


def row(n, dtypes, seed=0):
    rng = np.random.default_rng([n, seed])
    return rng.normal(size=n).astype(dtypes[0]), (3 * rng.normal(size=n) - 4).astype(dtypes[1])


def bits(a):
    return np.ascontiguousarray(a).tobytes()


def alone(form, g, x, **kwargs):
    return FORMS[form](g[None], x[None], 1, **kwargs)[0]


@every_form
@every_mixture
@pytest.mark.parametrize("n", LENGTHS)
def test_place_layout_axis_and_alias(isa, form, dtypes, n):
    """The same row in twelve settings."""
    g, x = row(n, dtypes)
    expected = bits(alone(form, g, x))
    call = FORMS[form]

    def batch(count, order="C"):
        rows = [row(n, dtypes, seed) for seed in range(1, count + 1)]
        at = count // 2
        rows[at] = (g, x)
        return at, *(np.array(part, order=order) for part in zip(*rows, strict=True))

    count = 3 if n > 5000 else 21
    at, gs, xs = batch(count)
    assert bits(call(gs, xs, 1)[at]) == expected  # in a batch
    assert bits(call(gs[at:], xs[at:], 1)[0]) == expected  # first in it
    assert bits(call(gs[::-1], xs[::-1], 1)[count - 1 - at]) == expected  # reversed batch
    assert bits(call(gs.T.copy(), xs.T.copy(), 0)[:, at]) == expected  # along axis 0
    _, fortran_g, fortran_x = batch(count, "F")
    assert bits(call(fortran_g, fortran_x, 1)[at]) == expected  # Fortran order
    assert bits(call(gs, fortran_x, 1)[at]) == expected  # contrary orders
    middle = [np.repeat(a.T[None, :, :, None], 2, axis=3) for a in (gs, xs)]
    assert bits(call(*middle, 1)[0, :, at, 1]) == expected  # a middle axis, narrow inside
    if n > 1:
        spaced = [np.repeat(a, 2, axis=1)[:, ::2] for a in (gs, xs)]
        assert bits(call(*spaced, 1)[at]) == expected  # every second element
        backwards = [a[:, ::-1].copy()[:, ::-1] for a in (gs, xs)]
        assert bits(call(*backwards, 1)[at]) == expected  # negative stride
    offset = [np.concatenate([a.ravel()[:1], a.ravel()])[1:].reshape(a.shape) for a in (gs, xs)]
    assert bits(call(*offset, 1)[at]) == expected  # another alignment
    wide = [np.tile(a.T, (1, 30)) for a in (gs, xs)] if n <= 1000 else [gs.T, xs.T]
    assert bits(call(*wide, 0)[:, at]) == expected  # full tiles
    if dtypes[0] == dtypes[1]:
        assert bits(call(gs.copy(), xs_out := xs.copy(), 1, out=xs_out)[at]) == expected  # over src or dst
        assert bits(call(gs_out := gs.copy(), xs, 1, out=gs_out)[at]) == expected  # over diff_dst


@every_form
@every_mixture
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 10, 15, 16, 21, 31, 33, 47])
def test_many_short_rows(isa, form, dtypes, n, rng):
    """Adjacent rows are gone through as one run, unless one of them is extreme; with gaps between them they are not."""
    count = 2500 // n + 5
    g, x = rng.normal(size=(count, n)).astype(dtypes[0]), (3 * rng.normal(size=(count, n)) - 4).astype(dtypes[1])
    apart = [np.concatenate([a, a], axis=1)[:, :n] for a in (g, x)]
    for rows in (16, 17, 23, 64, count):
        expected = FORMS[form](np.asfortranarray(g[:rows]), np.asfortranarray(x[:rows]), 1)
        assert bits(FORMS[form](g[:rows], x[:rows], 1)) == bits(expected)
        assert bits(FORMS[form](*(a[:rows] for a in apart), 1)) == bits(expected)
    extreme_g, extreme_x = g.copy(), x.copy()
    extreme_x[7] += 50
    extreme_g[9] *= dtypes[0].type(1e-30)
    others = np.setdiff1d(np.arange(count), [7, 9])
    result = FORMS[form](extreme_g, extreme_x, 1)
    assert bits(result[others]) == bits(expected[others])
    for r in (7, 9):
        assert bits(result[r]) == bits(alone(form, extreme_g[r], extreme_x[r]))


@every_form
@every_mixture
@pytest.mark.parametrize("n", [100, 513, 1003, 2049, 16_400, 33_000])
def test_every_row_of_a_batch(isa, form, dtypes, n):
    """While a row is computed, what the next one begins with is found."""
    rows = [row(n, dtypes, seed) for seed in range(3 if n > 5000 else 11)]
    g, x = (np.array(part) for part in zip(*rows, strict=True))
    result = FORMS[form](g, x, 1)
    for r in range(len(rows)):
        assert bits(result[r]) == bits(alone(form, g[r], x[r]))


@every_form
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(2000, 100), (1, 128256), (2, 200_000), (300_000, 3), (1, 5_000_000)], ids=str)
def test_number_of_threads(isa, form, dtype, shape):
    rng = np.random.default_rng(3)
    g, x = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    expected = bits(FORMS[form](g, x, 1, num_threads=1))
    for threads in (2, 3, None):
        assert bits(FORMS[form](g, x, 1, num_threads=threads)) == expected
    turned = [np.ascontiguousarray(a.T) for a in (g, x)]
    for threads in (1, 2):
        assert bits(FORMS[form](*turned, 0, num_threads=threads).T) == expected


@pytest.mark.skipif(not {"v3", "v4"} <= set(conftest.LEVELS), reason="this processor does not have both levels")
@every_form
@every_mixture
@pytest.mark.parametrize("n", LENGTHS)
def test_v3_against_v4(monkeypatch, form, dtypes, n):
    rows = [row(n, dtypes, seed) for seed in range(3 if n > 5000 else 50)]
    g, x = (np.array(part) for part in zip(*rows, strict=True))
    special = x[1:2].copy()
    special[0, 0] = np.nan
    special[0, -1] = np.inf
    large = (x[:1].astype(float) * 3000).astype(x.dtype)
    answers = []
    for level in ("v3", "v4"):
        monkeypatch.setattr(_api, "kernels", conftest.kernels_of(level))
        answers.append(
            [
                bits(FORMS[form](g, x, 1)),
                bits(FORMS[form](np.asfortranarray(g), np.asfortranarray(x), 1)),
                bits(np.isnan(FORMS[form](g[1:2], special, 1))),
                bits(FORMS[form](g[:1], large, 1)),
                bits(FORMS[form](g * g.dtype.type(1e-3), x, 1, dtype=np.float16)),
                bits(FORMS[form](g, x, 1, dtype=bfloat16)),
            ]
        )
    assert answers[0] == answers[1]


@every_form
def test_rows_do_not_see_each_other(isa, form, rng):
    g, x = rng.normal(size=(40, 30)).astype(np.float32), rng.normal(size=(40, 30)).astype(np.float32)
    for order in ("C", "F"):
        expected = FORMS[form](g, x, 1)
        bad_g, bad_x = np.array(g, order=order), np.array(x, order=order)
        bad_g[11], bad_x[29] = np.nan, np.nan
        result = FORMS[form](bad_g, bad_x, 1)
        others = np.setdiff1d(np.arange(40), [11, 29])
        assert bits(result[others]) == bits(expected[others])


@every_form
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nothing_is_left_from_the_call_before(isa, form, dtype):
    """Scratch memory comes back as the call before left it: here with sums past the range, infinities and NaN."""
    g, x = row(50, (dtype, dtype))
    x[1:] -= dtype.type(100)  # so far below the largest that what exp is scaled by shows
    expected = bits(alone(form, g, x))
    gs, xs = np.repeat(g[:, None], 300, axis=1), np.repeat(x[:, None], 300, axis=1)
    huge = np.full(gs.shape, np.finfo(np.float32).max if dtype == np.float32 else 60000).astype(dtype)
    wild = np.where(np.arange(300) % 3, np.nan, np.inf).astype(dtype) + xs
    for before in FORMS.values():
        for src in (xs, wild):
            before(huge, src, 0)
            assert bits(FORMS[form](gs, xs, 0)[:, 123]) == expected


@pytest.mark.parametrize("n", [500, 1000, 2048, 20_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=str)
@pytest.mark.parametrize("size", ["huge", "tiny"])
def test_sums_of_the_call_before_are_forgotten(isa, dtype, size, n):
    """log_softmax has none: one left on the stack would move the place below which exp counts as 0."""
    info = np.finfo(dtype)
    g = np.full((5, n), info.tiny, dtype)
    if size == "huge":
        g[:, :3] = info.max / (3.5 if dtype == np.float64 else 1)
    x = np.full((5, n), -85 if dtype == np.float32 else -680, dtype)
    x[:, 7] = 1
    x[:, 100:200] -= 3
    for before in ("src", "dst"):
        FORMS[before](g, np.zeros_like(x), 1)
        result = fastlsm.log_softmax(x)
        for r in range(5):
            assert bits(result[r]) == bits(fastlsm.log_softmax(x[r]))


FAR = 1 << 24  # bytes of a result that is written past the caches


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("n", "inner"), [(21, 4099), (1500, 49), (1500, 1328)])
def test_columns_past_the_caches(isa, dtype, n, inner, rng):
    """There tiles are wider, are written row by row, and may be loaded twice."""
    outer = -(-FAR // (n * inner * dtype.itemsize))
    g, x = rng.standard_normal((2, outer, n, inner), np.float32).astype(dtype)
    for call in FORMS.values():
        result = call(g, x, 1)
        assert result.nbytes >= FAR
        for block in {0, outer // 2, outer - 1}:
            rows = [np.ascontiguousarray(a[block].T) for a in (g, x)]
            assert bits(result[block].T) == bits(call(*rows, 1))


@every_form
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("n", "inner"), [(64, 17), (130, 256), (300, 300), (700, 48), (16385, 64), (21, 100_000)])
def test_columns_that_are_computed_on_where_they_lie(isa, form, dtype, n, inner, rng):
    """In the caches or past them, to an array of their own or in place; some dst are out of the common range."""
    g, x = rng.standard_normal((2, 2, n, inner), np.float32).astype(dtype)
    # A sum that is what rounding leaves of large numbers: its bits show in which order they were added.
    size = 2 if dtype == np.float16 else 9
    g *= (10.0 ** rng.uniform(-size, size, g.shape)).astype(dtype)
    g[:, n - n // 2 :] = -g[:, : n // 2]
    g[:, : n // 2 : 9] = g[:, n - n // 2 :: 9] = 1e-17 if dtype == np.float64 else 10.0**-size
    x[:, :: n // 3, ::5] += 50 if form == "dst" else 0
    call, at = FORMS[form], [*range(0, inner, 1 + inner // 500), inner - 1]
    rows = [np.ascontiguousarray(a[1][:, at].T) for a in (g, x)]
    expected = bits(call(*rows, 1))
    assert bits(call(g, x, 1)[1][:, at].T) == expected
    for place in (0, 1):
        operands = [g.copy(), x.copy()]
        call(*operands, 1, out=operands[place])
        assert bits(operands[place][1][:, at].T) == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [3, 50, 64, 900, 40_000])
def test_rows_past_the_caches(isa, dtype, n, rng):
    """As in the caches: in lines of memory that begin elsewhere than rows, with gaps, in place; some out of range."""
    outer = -(-FAR // (n * dtype.itemsize))
    g, x = rng.standard_normal((2, outer, n), np.float32).astype(dtype)
    x[::1001, ::7] += dtype.type(50)
    if dtype != np.float16:
        g[500::1001] *= dtype.type(1e200 if dtype == np.float64 else 1e25)
    rows = max(1, (1 << 17) // (n * dtype.itemsize))
    odd = np.empty(outer * n + 1, dtype)[1:].reshape(outer, n)
    padded = np.empty((outer, n + 3), dtype)[:, :n]
    for call in FORMS.values():
        expected = np.concatenate([call(g[i : i + rows], x[i : i + rows], 1) for i in range(0, outer, rows)])
        for out in (odd, padded):
            assert bits(call(g, x, 1, out=out)) == bits(expected)
        in_place = x.copy()
        assert bits(call(g, in_place, 1, out=in_place)) == bits(expected)


@every_form
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("outer", "rows", "n"), [(3, 100, 300), (5, 37, 200), (4, 13, 600), (3, 20, 1000), (2, 70, 130)]
)
def test_rows_in_blocks(isa, form, dtype, outer, rows, n, rng):
    """Gaps between blocks of rows: batches end with a block, and the next one may be longer."""
    g, x = rng.standard_normal((2, outer, rows + 7, n + 5), np.float32).astype(dtype)[:, :, :rows, :n]
    out = np.zeros((outer, rows + 3, n + 9), dtype)[:, :rows, :n]
    FORMS[form](g, x, 2, out=out)
    for block in range(outer):
        assert bits(out[block]) == bits(FORMS[form](g[block].copy(), x[block].copy(), 1))
