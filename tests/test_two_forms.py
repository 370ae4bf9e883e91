"""Contract, Why there are two forms, and Signatures."""

import inspect

import numpy as np
import pytest
import reference

import fastlsm


@pytest.fixture
def g(rng):
    return rng.normal(size=(20, 50))


@pytest.fixture
def logits(rng):
    return 3 * rng.normal(size=(20, 50)) + 5


def test_signatures():
    assert str(inspect.signature(fastlsm.log_softmax)) == "(src, axis=-1, *, out=None, dtype=None, num_threads=None)"
    assert str(inspect.signature(fastlsm.log_softmax_backward)) == (
        "(diff_dst, src=None, axis=-1, *, dst=None, out=None, dtype=None, num_threads=None)"
    )


def test_src_may_be_logits_or_log_probabilities(isa, g, logits):
    """log_softmax(log_softmax(x)) = log_softmax(x), so either gives the gradient."""
    from_logits = fastlsm.log_softmax_backward(g, logits)
    from_dst = fastlsm.log_softmax_backward(g, fastlsm.log_softmax(logits))
    assert np.allclose(from_logits, reference.backward_src(g, logits).astype(float), rtol=0, atol=1e-14)
    assert np.allclose(from_dst, from_logits, rtol=0, atol=1e-14)


def test_dst_is_taken_as_it_is(isa, g, logits):
    dst = reference.log_softmax(logits).astype(float) - 1.5  # not normalised
    result = fastlsm.log_softmax_backward(g, dst=dst)
    assert np.allclose(result, reference.backward_dst(g, dst).astype(float), rtol=0, atol=1e-14)
    assert not np.allclose(result, fastlsm.log_softmax_backward(g, dst), rtol=0, atol=1e-2)


def test_the_forms_agree_on_the_forwards_result(isa, g, logits):
    dst = fastlsm.log_softmax(logits)
    assert np.allclose(
        fastlsm.log_softmax_backward(g, logits), fastlsm.log_softmax_backward(g, dst=dst), rtol=0, atol=1e-14
    )


def test_it_is_the_gradient(isa, rng):
    """Central differences of the forward, in the direction of each element."""
    g, x = rng.normal(size=(2, 7)), rng.normal(size=(2, 7))
    step = 1e-6
    numeric = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        numeric[i] = (g * (fastlsm.log_softmax(up) - fastlsm.log_softmax(down))).sum() / (2 * step)
    assert np.allclose(fastlsm.log_softmax_backward(g, x), numeric, rtol=0, atol=1e-8)


def test_src_and_axis_may_be_positional(g, logits):
    by_name = fastlsm.log_softmax_backward(diff_dst=g, src=logits, axis=0)
    assert np.array_equal(fastlsm.log_softmax_backward(g, logits, 0), by_name)


def test_exactly_one_of_src_and_dst(g, logits):
    with pytest.raises(TypeError, match=r"exactly one of 'src' .* and 'dst' .*; neither given"):
        fastlsm.log_softmax_backward(g)
    with pytest.raises(TypeError, match=r"exactly one of 'src' .* and 'dst' .*; both given"):
        fastlsm.log_softmax_backward(g, logits, dst=logits)
    with pytest.raises(TypeError, match="both given; is src the axis"):
        fastlsm.log_softmax_backward(g, -1, dst=logits)


def test_what_is_keyword_only(g, logits):
    with pytest.raises(TypeError, match="positional"):
        fastlsm.log_softmax_backward(g, logits, -1, logits)
    with pytest.raises(TypeError, match="positional"):
        fastlsm.log_softmax(logits, -1, np.empty_like(logits))
