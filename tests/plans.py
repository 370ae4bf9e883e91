"""The plans of a grid of shapes: which walk computes each, how wide, how many together. Print them before and after a
change of the plan or of a number in include/tuning.hpp, and compare:

    python tests/plans.py > before.txt
"""

import itertools

import ml_dtypes
import numpy as np

from fastlsm import _runtime

DTYPES = [np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float64)]
LENGTHS = (1, 2, 3, 8, 10, 21, 32, 47, 48, 64, 100, 127, 128, 512, 1000, 1025, 2048, 2049, 4097, 16384, 16385, 128256)
COUNTS = (1, 2, 3, 6, 15, 16, 49, 100, 512, 1000, 10_000)
MOST = 1 << 24  # elements: the arrays are never touched, but have to have an address


def shapes():
    """(shape, axis): rows, columns, and columns of several neighbours."""
    for n, count in itertools.product(LENGTHS, COUNTS):
        if n * count <= MOST:
            yield (count, n), 1
            yield (n, count), 0
            if count >= 6:
                yield (count // 6, n, 6), 1
                yield (3, n, count // 3), 1


def plans(dtypes=DTYPES, threads=(1, 2)):
    """((form, dtype, shape, axis, threads), plan) of each."""
    memory = {dtype: np.empty(MOST, dtype) for dtype in dtypes}
    for form, dtype, (shape, axis), count in itertools.product(_runtime.kernels.FORMS, dtypes, shapes(), threads):
        array = memory[dtype][: np.prod(shape)].reshape(shape)
        plan = _runtime.kernels.plan(_runtime.kernels.FORMS[form], array, array, array, axis, count)
        yield (form, dtype, shape, axis, count), plan


if __name__ == "__main__":
    for (form, dtype, shape, axis, threads), plan in plans():
        said = ", ".join(
            name if value is True else f"{name} {value}" for name, value in plan.items() if value is not False
        )
        print(f"{form} {dtype} {'x'.join(map(str, shape))} axis {axis} threads {threads}: {said}")
