"""Arrays of any strides, for Hypothesis."""

import numpy as np
from hypothesis import strategies as st

STEPS = [1, 1, 2, 3, -1, -2, 0]


@st.composite
def views(draw, shape, dtype, seed):
    """An array of the shape: a permuted, stepped, reversed, broadcast or offset view of something larger."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from(STEPS)) for _ in shape]
    offset = draw(st.integers(0, 2))
    inner = [shape[d] for d in order]
    base_shape = [shape[d] * abs(steps[d]) + offset if steps[d] else 1 for d in order]
    base = np.random.default_rng(seed).normal(size=base_shape).astype(dtype)
    cut = tuple(slice(offset if steps[d] else 0, None, abs(steps[d]) or 1) for d in order)
    view = base[cut][tuple(slice(None, None, -1 if steps[d] < 0 else 1) for d in order)]
    return np.broadcast_to(view, inner).transpose(np.argsort(order))
