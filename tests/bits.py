"""The bits of the results of fixed problems, as one hash a case.

bits.txt holds those that every level with fused multiply-add must give, on every machine. Make it anew after a
deliberate change of the arithmetic, and after nothing else:

    python tests/bits.py > tests/bits.txt
"""

import hashlib

import ml_dtypes
import numpy as np

import fastlsm
from fastlsm import _runtime, partials

LEVELS = ("v4", "v3", "arm64")

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_DTYPES = [np.dtype(np.float32), _BFLOAT16, np.dtype(np.float16), np.dtype(np.float64)]
_MIXTURES = [(dtype, dtype) for dtype in _DTYPES] + [(_BFLOAT16, _DTYPES[0]), (_DTYPES[2], _DTYPES[3])]


def _numbers(seed, shape):
    """Random numbers in ±6.3, most of them near 0, with full mantissas; the same on every machine and NumPy."""
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    total = sum(((raw >> np.uint64(bits)) & np.uint64(0xFFFF)).astype(np.int64) for bits in (0, 16, 32, 48))
    return ((total - 2 * 0xFFFF) * (np.pi / 0x10000)).reshape(shape)


def _as(dtype, x):
    # By way of float32, from which all libraries round to 16 bits alike.
    return x if dtype == np.float64 else x.astype(np.float32).astype(dtype)


def _problem(dtypes, shape, *, g_scale=1.0, x_scale=1.0, shift=-4.0):
    g, x = _numbers(shape[1], shape), _numbers(shape[1] + 1_000_000, shape)
    return _as(dtypes[0], g * g_scale), _as(dtypes[1], x * x_scale + shift)


def _with(x, columns, value):
    x = x.copy()
    x[:, columns] = value
    return x


def _cases(dtypes):
    """(name, [(diff_dst, src or dst), ...]), rows along axis 1."""

    def lengths(*ns, rows=17):
        return [_problem(dtypes, (rows, n)) for n in ns]

    tiny = 2.0**-14 if np.dtype(np.float16) in dtypes else 2.0**-126
    large = 2.0**8 if np.dtype(np.float16) in dtypes else 2.0**100
    shape = (17, 131)
    g, x = _problem(dtypes, shape)
    return [
        ("short rows", lengths(*range(1, 20), 31, 32, 33, 63, 64)),
        ("rows", lengths(65, 100, 256, 257, 1000, 1025, 2049, 4097)),
        ("long rows", lengths(16384, 16385, 40_003, rows=2)),
        ("many rows", lengths(3, 10, 100, rows=601)),
        ("wide logits", [_problem(dtypes, shape, x_scale=s) for s in (10, 40, 1000)]),
        ("shifted logits", [_problem(dtypes, shape, shift=s) for s in (0, 80, -80, 300, -300, 3000, -3000)]),
        ("tiny gradients", [_problem(dtypes, shape, g_scale=tiny * s) for s in (1, 2.0**-5, 2.0**-10)]),
        ("large gradients", [_problem(dtypes, shape, g_scale=large)]),
        ("tiny logits", [_problem(dtypes, shape, x_scale=tiny * s, shift=0) for s in (1, 2.0**-5)]),
        ("ties", [(g, np.minimum(x, dtypes[1].type(-4))), (g, np.zeros_like(x))]),
        ("masked", [(g, _with(x, slice(None, None, 3), -np.inf)), (g, _with(x, slice(None), -np.inf))]),
        ("NaN", [(g, _with(x, 5, np.nan)), (_with(g, 99, np.nan), x)]),
        ("inf", [(g, _with(x, 5, np.inf)), (_with(g, 7, np.inf), x), (_with(g, [7, 8], [np.inf, -np.inf]), x)]),
    ]


_FORMS = {
    "log_softmax": lambda g, x, axis, **kw: fastlsm.log_softmax(x, axis, **kw),
    "src form": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, x, axis, **kw),
    "dst form": lambda g, x, axis, **kw: fastlsm.log_softmax_backward(g, dst=x, axis=axis, **kw),
}


def _in_chunks(form, g, x):
    """The result of rows along axis 1, of which a third lies elsewhere."""
    chunks = [(a[:, : a.shape[1] // 3], a[:, a.shape[1] // 3 :]) for a in (g, x)]
    reduced = [partials.reduce_chunk(x, diff_dst=g) for g, x in zip(*chunks, strict=True)]
    totals = partials.combine(np.concatenate(reduced, axis=1))
    calls = {
        "log_softmax": lambda g, x: partials.log_softmax(x, totals=totals),
        "src form": lambda g, x: partials.log_softmax_backward(g, x, totals=totals),
        "dst form": lambda g, x: partials.log_softmax_backward(g, dst=x, totals=totals),
    }
    return np.concatenate([calls[form](g, x) for g, x in zip(*chunks, strict=True)], axis=1)


def _bits(result):
    # Processors differ in the sign and payload of a NaN that an operation makes.
    nan = np.isnan(result)
    unsigned = np.ascontiguousarray(result).view(f"u{result.itemsize}")
    return np.where(nan, unsigned.dtype.type(0), unsigned).tobytes() + nan.tobytes()


def hashes():
    """By case, the hash of its results: rows and columns, adjacent and not, in the operands' dtype and in each."""
    found = {}
    for dtypes in _MIXTURES:
        for form in _FORMS:
            digest = hashlib.blake2b(digest_size=8)
            for _, problems in _cases(dtypes):
                for g, x in problems:
                    digest.update(_bits(_in_chunks(form, g, x)))
            found[f"{form}, {dtypes[0]} and {dtypes[1]}, in chunks"] = digest.hexdigest()
        for case, problems in _cases(dtypes):
            for form, call in _FORMS.items():
                if form == "log_softmax" and dtypes[0] != dtypes[1]:
                    continue
                digest = hashlib.blake2b(digest_size=8)
                for g, x in problems:
                    spaced = [np.repeat(a, 2, axis=1)[:, ::2] for a in (g, x)]
                    digest.update(_bits(call(g, x, 1)))
                    digest.update(_bits(call(np.asfortranarray(g), np.asfortranarray(x), 1)))
                    digest.update(_bits(call(*spaced, 1)))
                for dtype in _DTYPES:
                    digest.update(_bits(call(*problems[0], 1, dtype=dtype)))
                found[f"{form}, {dtypes[0]} and {dtypes[1]}, {case}"] = digest.hexdigest()
    return found


def read(lines):
    return dict(line.rstrip("\n").split(": ") for line in lines)


if __name__ == "__main__":
    if _runtime.level not in LEVELS:
        raise SystemExit(f"the {_runtime.level} kernels may round otherwise: this needs one of {', '.join(LEVELS)}")
    for case, found in hashes().items():
        print(f"{case}: {found}")
