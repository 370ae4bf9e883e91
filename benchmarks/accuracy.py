"""How far each contender's gradient is off where a model is sure of a class, and elsewhere, beside exact answers.

With p the softmax and S the sum of diff_dst, a gradient's element is diff_dst - p S, and diff_dst (1 - p) -
p (S - diff_dst). The unit of an error is the unit in the last place of the largest number in one of the formulas: of
that formula in which it is smaller.
"""

import mpmath
import numpy as np
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks import rivals
from benchmarks.cases import DTYPES, Cell, Shape
from benchmarks.problem import Problem
from benchmarks.rivals.fastlsm_itself import CONTENDERS as ITSELF

ROWS, CLASSES = 50, 40
DIGITS = 80
FORMS = ("dst", "src")
DEFAULT_RIVALS = ("numpy_formula", "torch_eager", "jax_jitted", "onednn")
MANTISSA_BITS = {"float32": 23, "bfloat16": 7, "float16": 10, "float64": 52}
LEAST_EXPONENT = {"float32": -126, "bfloat16": -126, "float16": -14, "float64": -1022}


def _random(rng):
    return rng.normal(size=(2, ROWS, CLASSES))


def _sure(rng, least, most):
    """Logits with a class that far above the others, and where that is."""
    src = rng.normal(size=(ROWS, CLASSES))
    top = rng.integers(0, CLASSES, ROWS)
    src[np.arange(ROWS), top] += rng.uniform(least, most, ROWS)
    return src, top


def _cross_entropy(target):
    """The gradient with respect to log_softmax's result, of a mean over 64 rows."""
    return -target / 64


def _right(rng):
    src, top = _sure(rng, 12, 25)
    return _cross_entropy(np.eye(CLASSES)[top]), src


def _wrong(rng):
    src, top = _sure(rng, 12, 25)
    return _cross_entropy(np.eye(CLASSES)[(top + 1) % CLASSES]), src


def _smoothed(rng):
    src, top = _sure(rng, 5, 12)
    return _cross_entropy(0.9 * np.eye(CLASSES)[top] + 0.1 / CLASSES), src


def _one_row(rng):
    return np.array([[1.0, 0.0]]), np.array([[37.42994775023705, 0.0]])


KINDS = {
    "random": _random,
    "sure, the right label": _right,
    "sure, another label": _wrong,
    "sure, smoothed labels": _smoothed,
    "src [37.43, 0], diff_dst [1, 0]": _one_row,
}


def compare(options, progress):
    """A table of the worst errors, and what is not in it."""
    contenders, missing = rivals.load(options.rivals or DEFAULT_RIVALS)
    contenders = ITSELF | {name: prepare for name, prepare in contenders.items() if name in rivals.MODULES}
    table = Table(title="worst error of a gradient's element, in units of the last place", title_justify="left")
    for heading in ("rows", "dtype", "form"):
        table.add_column(heading)
    for name in contenders:
        table.add_column(name, justify="right")
    cells = [(kind, dtype, form) for kind in KINDS for dtype in DTYPES for form in FORMS]
    with threadpool_limits(options.threads), progress:
        for kind, dtype, form in progress.track(cells):
            table.add_row(kind, dtype, form, *_errors(kind, dtype, form, contenders, options.threads))
    return table, missing


def _errors(kind, dtype, form, contenders, threads):
    diff_dst, src = KINDS[kind](np.random.default_rng(0))
    cell = Cell(dtype, form, Shape("", kind, src.shape, -1))
    problem = Problem(cell, threads, (diff_dst, src))
    expected, units = _exact(problem.diff_dst, problem.x, form, dtype)
    for prepare in contenders.values():
        problem.out[...] = np.nan
        try:
            prepared = prepare(problem)
        except (rivals.NotApplicable, rivals.Unsupported):
            yield "-"
            continue
        prepared.call()
        yield f"{_worst(prepared.result(), expected, units):.2g}"


def _worst(result, expected, units):
    with mpmath.workdps(DIGITS):
        return max(
            float(abs(mpmath.mpf(float(r)) - e) / u) for r, e, u in zip(np.ravel(result), expected, units, strict=True)
        )


def _exact(diff_dst, x, form, dtype):
    """Each element's gradient and unit, as lists of mpmath numbers."""
    expected, units = [], []
    with mpmath.workdps(DIGITS):
        for g_row, x_row in zip(diff_dst, x, strict=True):
            g, p = ([mpmath.mpf(float(v)) for v in row] for row in (g_row, x_row))
            shift = max(p) if form == "src" else 0
            p = [mpmath.exp(v - shift) for v in p]
            mass, total = (mpmath.fsum(p) if form == "src" else 1), mpmath.fsum(g)
            for g_i, p_i in zip(g, (v / mass for v in p), strict=True):
                answer = g_i - p_i * total
                first = max(map(abs, (answer, g_i, p_i * total)))
                second = max(map(abs, (answer, g_i * (1 - p_i), p_i * (total - g_i))))
                expected.append(answer)
                units.append(_unit(min(first, second), dtype))
    return expected, units


def _unit(size, dtype):
    exponent = mpmath.frexp(size)[1] - 1 if size else LEAST_EXPONENT[dtype]
    return mpmath.ldexp(1, max(exponent, LEAST_EXPONENT[dtype]) - MANTISSA_BITS[dtype])
