"""Tiles of large arrays, as wide as the neighbouring columns where scratch keeps that: the contiguous rows' bits."""

import numpy as np
import pytest
import reference
from calls import FORMS

from fastlsm import _api, _caches, _runtime

pytestmark = pytest.mark.thread_unsafe(reason="sets the caches of the process")
# Scratch keeps 65,536 elements of float, 32,768 of float64. Columns are counted to a multiple of 16.
EXTENTS = [
    (2, 1500), (7, 1344), (7, 1345), (16, 1976), (24, 1360), (31, 2080), (33, 1985), (36, 1809), (48, 1365), (40, 2081),
    (48, 673), (25, 1310), (48, 682), (24, 1344), (33, 992), (33, 993),
]  # fmt: skip


@pytest.fixture
def all_are_large(isa):
    """All arrays count as larger than the caches."""
    kernels = _api.kernels
    kernels.set_caches(**_caches.limits(2 << 20) | {"far_from": 0})
    yield
    kernels.set_caches(**_caches.limits(_runtime.second_level_cache[0]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", reference.DTYPES, ids=str)
@pytest.mark.parametrize(("n", "inner"), EXTENTS)
def test_has_the_bits_of_contiguous_rows(all_are_large, rng, n, inner, dtype, form):
    g, x = rng.normal(size=(2, 2, n, inner)).astype(dtype)
    rows = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (g, x)]
    assert np.array_equal(FORMS[form](g, x, axis=1), np.moveaxis(FORMS[form](*rows), -1, 1))
