"""docs/with/: each recipe, where its library is installed. Their examples are run, and what they define is tried.

The file comes last by its name, and should: once JAX is imported, a fork in the same process is a warning.
"""

from importlib import import_module

import numpy as np
import pages
import pytest
import reference

import fastlsm

NEEDS = {"dlpack": ["jax"], "onednn": [], "index": [], "scipy": ["scipy.special"], "torch": ["torch", "ml_dtypes"]}
PAGES = sorted(page.stem for page in (pages.DOCS / "with").glob("*.rst"))

pytestmark = [
    pytest.mark.thread_unsafe(reason="libraries are imported, and examples read from the process's output"),
    pytest.mark.filterwarnings("default"),  # other libraries' warnings are not this one's failures
]


def recipe(name):
    for module in NEEDS.get(name, [name]):
        pytest.importorskip(module)
    return pages.run(pages.DOCS / "with" / f"{name}.rst")


@pytest.fixture
def src(rng):
    return 3 * rng.normal(size=(5, 7))


@pytest.fixture
def diff_dst(rng):
    return rng.normal(size=(5, 7))


def assert_right(result, diff_dst, src, axis, tolerance=1e-14):
    assert np.max(np.abs(result - reference.backward_src(diff_dst, src, axis))) <= tolerance


@pytest.mark.parametrize("page", PAGES)
def test_examples(page):
    recipe(page)


def test_what_the_tables_say_of_scipy():
    log_softmax = pytest.importorskip("scipy.special").log_softmax
    with np.errstate(invalid="ignore"):
        assert np.array_equal(log_softmax([0, np.inf]), [-np.inf, np.nan], equal_nan=True)
    assert np.isnan(fastlsm.log_softmax([0, np.inf])).all()
    assert log_softmax(np.array(3.0)) == log_softmax(np.array(3.0), axis=-1) == 0
    assert log_softmax(np.arange(3)).dtype == fastlsm.log_softmax(np.arange(3)).dtype == np.float64
    assert np.allclose(log_softmax(np.zeros((2, 2))), -np.log(4))
    assert np.allclose(fastlsm.log_softmax(np.zeros((2, 2))), -np.log(2))


def test_what_the_tables_say_of_torch():
    torch = pytest.importorskip("torch")
    for bad in (np.inf, np.nan):
        assert torch.log_softmax(torch.tensor([0, bad, 0]), 0).isnan().all()
        assert np.isnan(fastlsm.log_softmax([0, bad, 0])).all()
    assert torch.log_softmax(torch.tensor(3.0), -1) == 0
    with pytest.raises(NotImplementedError):
        torch.log_softmax(torch.arange(3), 0)
    with pytest.raises(TypeError):
        torch.log_softmax(torch.zeros(2, 3), (0, 1))
    with pytest.raises(TypeError, match="BFloat16"):
        torch.zeros(2, dtype=torch.bfloat16).numpy()
    with pytest.warns(UserWarning, match="[Ii]mplicit"):
        torch.nn.functional.log_softmax(torch.zeros(2, 3))


def test_what_the_tables_say_of_jax():
    jax = pytest.importorskip("jax")
    log_softmax = jax.nn.log_softmax
    for bad in (np.inf, np.nan):
        assert np.isnan(log_softmax(jax.numpy.array([0, bad, 0]))).all()
    assert log_softmax(jax.numpy.arange(3)).dtype == np.float32
    for axis in ((0, 1), None):
        assert np.allclose(log_softmax(jax.numpy.zeros((2, 2)), axis), -np.log(4))
    array = np.asarray(jax.numpy.zeros(3))
    assert not array.flags.writeable
    assert np.allclose(fastlsm.log_softmax(array), -np.log(3))


@pytest.mark.parametrize("axis", [0, -1])
def test_autograd(src, diff_dst, axis):
    log_softmax = recipe("autograd")["log_softmax"]
    autograd = import_module("autograd")
    result = autograd.grad(lambda x: autograd.numpy.sum(diff_dst * log_softmax(x, axis)))(src)
    assert_right(result, diff_dst, src, axis)
    from_dst = autograd.grad(lambda x: autograd.numpy.sum(diff_dst * log_softmax(x, axis=axis)))(src)
    assert np.array_equal(result, from_dst)


@pytest.mark.parametrize("axis", [0, -1])
def test_mygrad(src, diff_dst, axis):
    log_softmax = recipe("mygrad")["log_softmax"]
    x = import_module("mygrad").tensor(src)
    (diff_dst * log_softmax(x, axis)).sum().backward()
    assert_right(x.grad, diff_dst, src, axis)


@pytest.mark.parametrize("name", ["kind", "place"])
def test_xarray(src, diff_dst, name):
    defined = recipe("xarray")
    xarray = import_module("xarray")
    axis = ("kind", "place").index(name)
    x = xarray.DataArray(src, dims=("kind", "place"), coords={"place": list("abcdefg")})
    gradient = xarray.DataArray(diff_dst, x.coords, x.dims)
    dst = defined["log_softmax"](x, name)
    assert np.array_equal(dst, fastlsm.log_softmax(src, axis))
    result = defined["log_softmax_backward"](gradient.transpose(), dst, name)
    assert result.dims == x.dims
    assert list(result.place.values) == list("abcdefg")
    assert_right(result.values, diff_dst, src, axis, 1e-13)
    with pytest.raises(ValueError, match="place"):
        defined["log_softmax_backward"](gradient.isel(place=slice(6)), dst, name)


def test_pandas(src, diff_dst):
    defined = recipe("pandas")
    pandas = import_module("pandas")
    scores = pandas.DataFrame(src, index=list("vwxyz"), columns=list("abcdefg"))
    gradient = pandas.DataFrame(diff_dst, scores.index, scores.columns)
    dst = defined["log_softmax"](scores)
    assert np.array_equal(dst, fastlsm.log_softmax(src))
    result = defined["log_softmax_backward"](gradient.iloc[::-1, ::-1], dst)
    assert result.columns.equals(scores.columns)
    assert result.index.equals(scores.index)
    assert_right(result.to_numpy(), diff_dst, src, -1, 1e-13)


def test_sklearn():
    estimator = recipe("sklearn")["SoftmaxRegression"]
    datasets, linear_model = import_module("sklearn.datasets"), import_module("sklearn.linear_model")
    x, y = datasets.load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    mine = estimator(penalty=1.0).fit(x, names)
    theirs = linear_model.LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(x, names)
    assert np.array_equal(mine.predict(x), theirs.predict(x))
    assert np.allclose(np.exp(mine.predict_log_proba(x)), theirs.predict_proba(x), atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_jax(src, diff_dst, axis, dtype):
    log_softmax = recipe("jax")["log_softmax"]
    jax = import_module("jax")
    x, g = jax.numpy.asarray(src, dtype), jax.numpy.asarray(diff_dst, dtype)
    gradient = jax.grad(lambda x, g: (g * log_softmax(x, axis)).astype("float32").sum())
    for transformed in (gradient, jax.jit(gradient)):
        result = np.asarray(transformed(x, g))
        assert result.dtype == dtype
        assert_right(result, np.asarray(g), np.asarray(x), axis, 1e-6 if dtype == "float32" else 0.03)
    many = jax.vmap(gradient)(jax.numpy.stack([x, 2 * x]), jax.numpy.stack([g, g]))
    assert np.array_equal(many[0], gradient(x, g))
    assert np.array_equal(many[1], gradient(2 * x, g))


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("name", ["function", "operator"])
def test_torch(src, diff_dst, dim, name):
    defined = recipe("torch")
    torch = import_module("torch")
    log_softmax = {"function": defined["LogSoftmax"].apply, "operator": defined["log_softmax"]}[name]
    x, g = torch.from_numpy(src).requires_grad_(), torch.from_numpy(diff_dst)
    assert torch.autograd.gradcheck(lambda x: log_softmax(x, dim), x)
    log_softmax(x, dim).backward(g)
    assert_right(x.grad.numpy(), diff_dst, src, dim)
    narrow = x.detach().to(torch.bfloat16).requires_grad_()
    dst = log_softmax(narrow, dim)
    assert dst.dtype == torch.bfloat16
    dst.backward(g.to(torch.bfloat16))
    expected = fastlsm.log_softmax_backward(*(defined["as_array"](t) for t in (g.to(torch.bfloat16), narrow)), dim)
    assert np.allclose(defined["as_array"](narrow.grad).astype(float), expected.astype(float), atol=0.03)


def test_torch_compile(src, diff_dst):
    defined = recipe("torch")
    torch = import_module("torch")
    x, g = torch.from_numpy(src).requires_grad_(), torch.from_numpy(diff_dst)

    def loss(x):
        return (g * defined["log_softmax"](x * 1, 1)).sum()

    torch.compile(loss, backend="aot_eager", fullgraph=True)(x).backward()
    assert_right(x.grad.numpy(), diff_dst, src, 1)
    for operator, operands in (("log_softmax", (x, 1)), ("backward", (g, x.detach(), 1))):
        torch.library.opcheck(defined[operator], operands)


def test_torch_shares_memory():
    defined = recipe("torch")
    torch = import_module("torch")
    for tensor in (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bfloat16)):
        array = defined["as_array"](tensor)
        array[0, 1] = 5
        assert tensor[0, 1] == 5
        defined["as_tensor"](array)[1, 2] = 7
        assert tensor[1, 2] == 7


def test_dlpack(src):
    torch = pytest.importorskip("torch")
    array = np.from_dlpack(torch.from_numpy(src))
    assert np.shares_memory(array, src)
    assert np.array_equal(torch.from_dlpack(fastlsm.log_softmax(array)), fastlsm.log_softmax(src))


# docs/cross_entropy.rst: its gradients are those that other libraries derive, of their own losses.


@pytest.fixture(scope="module")
def by_hand():
    return pages.run(pages.DOCS / "cross_entropy.rst")


@pytest.fixture
def labels(rng):
    return rng.integers(7, size=5)


@pytest.fixture
def ignoring(labels):
    return np.where(np.arange(5) < 3, labels, -100)


@pytest.fixture
def soft(rng):
    return rng.dirichlet(np.ones(7), 5)


@pytest.fixture
def weights(rng):
    return rng.uniform(1, 2, 7)


def test_cross_entropy_by_autograd(by_hand, src, labels, ignoring, soft, weights):
    anp = pytest.importorskip("autograd.numpy")
    grad = import_module("autograd").grad

    def loss_of(targets):
        def loss(x):
            shifted = x - anp.max(x, axis=1, keepdims=True)
            return -anp.sum(targets * (shifted - anp.log(anp.sum(anp.exp(shifted), axis=1, keepdims=True))))

        return loss

    one_hot, kept = np.eye(7)[labels], (ignoring >= 0)[:, None]
    share = weights[labels] / weights[labels].sum()
    for answer, targets in (
        (by_hand["cross_entropy"](src, labels), one_hot / 5),
        (by_hand["cross_entropy_weighted"](src, labels, weights), share[:, None] * one_hot),
        (by_hand["cross_entropy_ignoring"](src, ignoring), one_hot * kept / 3),
        (by_hand["cross_entropy_smoothed"](src, labels, 0.2), (0.8 * one_hot + 0.2 / 7) / 5),
        (by_hand["cross_entropy_soft"](src, soft), soft / 5),
    ):
        loss = loss_of(targets)
        assert np.allclose(answer[0], loss(src), rtol=1e-14)
        assert np.allclose(answer[1], grad(loss)(src), rtol=0, atol=1e-14)


def torch_loss(logits, target, **options):
    """PyTorch's loss and its gradient."""
    torch = import_module("torch")
    x = torch.from_numpy(logits).requires_grad_()
    loss = torch.nn.functional.cross_entropy(x, torch.from_numpy(target), **options)
    loss.backward()
    return loss.item(), x.grad.numpy()


def test_cross_entropy_by_torch(by_hand, src, labels, ignoring, soft, weights, rng):
    torch = pytest.importorskip("torch")
    pixels, pixel_labels = rng.normal(size=(3, 7, 4, 5)), rng.integers(7, size=(3, 4, 5))
    for answer, expected in (
        (by_hand["cross_entropy"](src, labels), torch_loss(src, labels)),
        (
            by_hand["cross_entropy_weighted"](src, labels, weights),
            torch_loss(src, labels, weight=torch.from_numpy(weights)),
        ),
        (by_hand["cross_entropy_ignoring"](src, ignoring), torch_loss(src, ignoring)),
        (by_hand["cross_entropy_smoothed"](src, labels, 0.2), torch_loss(src, labels, label_smoothing=0.2)),
        (by_hand["cross_entropy_soft"](src, soft), torch_loss(src, soft)),
        (by_hand["cross_entropy_along"](pixels, pixel_labels, axis=1), torch_loss(pixels, pixel_labels)),
    ):
        assert np.allclose(answer[0], expected[0], rtol=1e-14)
        assert np.allclose(answer[1], expected[1], rtol=0, atol=1e-14)


def test_cross_entropy_by_jax(by_hand, src, labels):
    jax = pytest.importorskip("jax")

    def loss(x):
        return -jax.nn.log_softmax(x)[np.arange(5), labels].mean()

    src = src.astype(np.float32)
    answer = by_hand["cross_entropy"](src, labels)
    assert np.allclose(answer[0], loss(src), rtol=1e-6)
    assert np.allclose(answer[1], jax.grad(loss)(src), rtol=0, atol=1e-7)
