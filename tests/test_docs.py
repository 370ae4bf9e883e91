"""README and docs/: every example is run. Those that need another library are run by test_with_neighbours.py."""

import inspect

import numpy as np
import pages
import pytest
import reference

import fastlsm
from fastlsm import partials

pytestmark = pytest.mark.thread_unsafe(reason="examples set the threads of the process, and are read from its output")

PAGES = [pages.ROOT / "README.md", *sorted(pages.DOCS.glob("*.rst"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples(page):
    if page.stem == "chunks":
        pytest.importorskip("dask.array")
        pytest.importorskip("zarr")
    pages.run(page)


FUNCTIONS = [getattr(fastlsm, name) for name in fastlsm.__all__]
FUNCTIONS += [getattr(partials, name) for name in partials.__all__ if name != "PARTIAL"]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_help_in_a_terminal(function):
    doc = inspect.getdoc(function)
    assert max(len(line) for line in doc.splitlines() if "https://" not in line) + len("    ") <= 80
    assert "\\" not in doc  # no LaTeX
    assert ":math:" not in doc


@pytest.fixture(scope="module")
def recipes():
    return pages.run(pages.DOCS / "cross_entropy.rst")


def exact(logits, targets, rows):
    """The mean over so many rows of the cross-entropy with the targets, and its gradient, in long double."""
    dst = reference.log_softmax(logits)
    targets = np.asarray(targets, np.longdouble)
    gradient = reference.softmax(logits).p * targets.sum(-1, keepdims=True) - targets
    return -(targets * dst).sum() / rows, gradient / rows


def assert_right(answer, expected, tolerance=1e-14):
    for mine, right in zip(answer, expected, strict=True):
        assert np.max(np.abs(np.asarray(mine, np.longdouble) - right)) <= tolerance


@pytest.fixture
def logits(rng):
    return 3 * rng.normal(size=(50, 7))


@pytest.fixture
def labels(rng):
    return rng.integers(7, size=50)


def test_cross_entropy(recipes, logits, labels):
    targets = np.eye(7)[labels]
    assert_right(recipes["cross_entropy"](logits, labels), exact(logits, targets, 50))
    assert_right(recipes["cross_entropy_soft"](logits, targets), exact(logits, targets, 50))
    assert_right(recipes["cross_entropy_smoothed"](logits, labels, 0), exact(logits, targets, 50))


def test_cross_entropy_with_a_weight_for_each_class(recipes, logits, labels, rng):
    weights = rng.uniform(1, 2, size=7)
    targets = weights[labels][:, None] * np.eye(7)[labels]
    answer = recipes["cross_entropy_weighted"](logits, labels, weights)
    assert_right(answer, exact(logits, targets, weights[labels].sum()))


def test_ignored_labels(recipes, logits, labels, rng):
    labels[rng.random(50) < 0.3] = -100
    targets = np.where((labels >= 0)[:, None], np.eye(7)[labels % 7], 0)
    loss, gradient = recipes["cross_entropy_ignoring"](logits, labels)
    assert_right((loss, gradient), exact(logits, targets, (labels >= 0).sum()))
    assert not gradient[labels < 0].any()
    loss, gradient = recipes["cross_entropy_ignoring"](logits, np.full(50, -100))
    assert loss == 0
    assert not gradient.any()


def test_label_smoothing(recipes, logits, labels):
    for smoothing in (0.1, 0.5, 1):
        answer = recipes["cross_entropy_smoothed"](logits, labels, smoothing)
        assert_right(answer, exact(logits, (1 - smoothing) * np.eye(7)[labels] + smoothing / 7, 50))


def test_soft_targets(recipes, logits, rng):
    targets = rng.dirichlet(np.ones(7), size=50)
    assert_right(recipes["cross_entropy_soft"](logits, targets), exact(logits, targets, 50))
    targets[:, 2] = 0
    logits[:, 2] = -np.inf  # a class that cannot occur
    loss, gradient = recipes["cross_entropy_soft"](logits, targets)
    others = np.delete(np.arange(7), 2)
    assert_right((loss, gradient[:, others]), exact(logits[:, others], targets[:, others], 50))
    assert not gradient[:, 2].any()


def test_classes_on_another_axis(recipes, rng):
    logits, labels = rng.normal(size=(3, 7, 4, 5)), rng.integers(7, size=(3, 4, 5))
    loss, gradient = recipes["cross_entropy_along"](logits, labels, axis=1)
    rows = np.moveaxis(logits, 1, -1).reshape(-1, 7)
    assert_right((loss, np.moveaxis(gradient, 1, -1).reshape(-1, 7)), exact(rows, np.eye(7)[labels.ravel()], 60))


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), reference.bfloat16], ids=str)
def test_sixteen_bits(recipes, logits, labels, dtype):
    logits = logits.astype(dtype)
    loss, gradient = recipes["cross_entropy_16_bits"](logits, labels)
    expected_loss, expected = exact(logits, np.eye(7)[labels], 50)
    assert abs(loss - expected_loss) <= 1e-6
    assert gradient.dtype == dtype
    assert reference.ulp_error(gradient, expected, expected) <= 0.51
