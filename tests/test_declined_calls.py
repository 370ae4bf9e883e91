"""Contract, all of it: the calls that the kernels decline, refuse, or answer through a temporary."""

import sys

import numpy as np
import pytest
from calls import FLOAT32, FORMS, Subclass, answered, backwards, counts_references, every_form, the_general_way
from reference import bfloat16

import fastlsm


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def overlapping(a, by):
    """`a`'s numbers, and an array `by` elements further on in the same memory."""
    memory = np.zeros(a.size + by, a.dtype)
    first, second = memory[: a.size].reshape(a.shape), memory[by:].reshape(a.shape)
    first[...] = a
    return first, second


A = np.random.default_rng(5).normal(size=(4, 8)).astype(np.float32)
DECLINED = {
    "subclass": A.view(Subclass),
    "masked": np.ma.array(A),
    "matrix": A.view(np.matrix),
    "list": A.tolist(),
    "scalar": np.float32(1),
    "None": None,
    "integers": A.astype(int),
    "complex": A.astype(complex),
    "two bytes": A.astype(np.float16).view("V2"),
    "16-bit integers": A.astype(np.float16).view(np.uint16),
    "byte-swapped": A.astype(FLOAT32.newbyteorder()),
    "byte-swapped bfloat16": A.astype(bfloat16.newbyteorder()),
    "misaligned": misaligned(A),
    "misaligned steps": np.zeros(160, np.uint8)[: 4 * 40].view("V5").view(np.dtype([("a", "f4"), ("b", "i1")]))["a"],
}
OF_ANOTHER_SHAPE = {
    "another shape": A[:3].copy(),
    "another length": A[:, :7].copy(),
    "another ndim": A[None],
    "turned": A.reshape(8, 4),
    "empty": A[:0],
    "0-d": np.array(1, np.float32),
}
ANSWERED = {
    "another dtype": A.astype(np.float64),
    "bfloat16": A.astype(bfloat16),
    "Fortran order": np.asfortranarray(A),
    "backwards": backwards(A),
    "reversed": A[::-1],
    "broadcast": np.broadcast_to(A[:1], A.shape),
}
OUT_DECLINED = {
    "list": A.tolist(),
    "subclass": A.copy().view(Subclass),
    "masked": np.ma.array(A.copy()),
}
OUT_REFUSED = {
    "read-only": (read_only(A), "^out: output array is read-only$"),
    "another shape": (np.zeros((4, 7), np.float32), r"with shape \(4, 7\) doesn't match the shape \(4, 8\)"),
    "another ndim": (np.zeros((1, 4, 8), np.float32), r"with shape \(1, 4, 8\) doesn't match the shape \(4, 8\)"),
    "empty": (np.zeros((0, 8), np.float32), r"with shape \(0, 8\) doesn't match the shape \(4, 8\)"),
    "byte-swapped, read-only": (read_only(A.astype(FLOAT32.newbyteorder())), "^out: output array is read-only$"),
    "misaligned, another shape": (misaligned(A[:3]), r"with shape \(3, 8\) doesn't match the shape \(4, 8\)"),
    "integers": (np.zeros((4, 8), np.int32), "^out has dtype int32; supported are "),
}
OUT_THROUGH_A_TEMPORARY = {
    "byte-swapped": np.zeros((4, 8), FLOAT32.newbyteorder()),
    "byte-swapped bfloat16": np.zeros((4, 8), bfloat16.newbyteorder()),
    "misaligned": misaligned(np.zeros_like(A)),
}
KEYWORDS_DECLINED = {
    "bool axis": {"axis": True},
    "NumPy's bool": {"axis": np.True_},
    "NumPy's integer": {"axis": np.int64(1)},
    "float axis": {"axis": 1.0},
    "list of axes": {"axis": [0, 1]},
    "tuple of NumPy's integers": {"axis": (np.int64(1),)},
    "tuple with a bool": {"axis": (0, True)},
    "NumPy's integer of threads": {"num_threads": np.int64(2)},
    "bool threads": {"num_threads": True},
    "float threads": {"num_threads": 1.0},
    "no threads": {"num_threads": 0},
    "less than no threads": {"num_threads": -(10**30)},
}
KEYWORDS_REFUSED = {
    "axis too large": {"axis": 2},
    "axis too small": {"axis": -3},
    "axis past 64 bits": {"axis": 10**30},
    "one of several axes too large": {"axis": (0, 2)},
    "axis twice": {"axis": (1, 0, -1)},
    "dtype": {"dtype": np.dtype(np.int32)},
    "dtype beside out": {"dtype": np.dtype(np.int32), "out": np.zeros_like(A)},
    "dtype with a shape": {"dtype": np.dtype((np.float32, (2,)))},
}


def state(arrays):
    return [(np.asarray(a).tobytes(), sys.getrefcount(a), sys.getrefcount(a.dtype)) for a in arrays]


def leaves_all_as_it_was(call, *args, **kwargs):
    """Nothing is written, and nothing kept."""
    arrays = [a for a in (*args, *kwargs.values()) if isinstance(a, np.ndarray)]
    before = state(arrays)
    for _ in range(5):
        call(*args, **kwargs)
    return state(arrays) == before


def declines(*args, **kwargs):
    def call(*args, **kwargs):
        assert answered(*args, **kwargs) is None

    return leaves_all_as_it_was(call, *args, **kwargs)


def refuses(error, message, *args, **kwargs):
    def call(*args, **kwargs):
        with pytest.raises(error, match=message):
            answered(*args, **kwargs)

    return leaves_all_as_it_was(call, *args, **kwargs)


def takes_a_temporary(first, second, out):
    """Also: the answer is that of separate memory."""
    expected = answered(first.copy(), second.copy(), dtype=out.dtype)
    copies = []
    with pytest.MonkeyPatch.context() as patch:
        copyto = np.copyto
        patch.setattr(np, "copyto", lambda *args: copies.append(args) or copyto(*args))
        memory = out if out.base is None else out.base
        before = memory.copy()
        assert answered(first, second, out=out) is out
        assert np.array_equal(out, expected)
        memory[...] = before
    return len(copies) == 1


@counts_references
@pytest.mark.parametrize("which", DECLINED)
def test_operands_that_are_declined(which):
    a = DECLINED[which]
    assert declines(A, a)
    assert declines(a, a)
    assert declines(a, A)
    assert declines(A, a, out=np.zeros_like(A))


@counts_references
@pytest.mark.parametrize("which", OF_ANOTHER_SHAPE)
def test_operands_of_another_shape_are_refused(which):
    a = OF_ANOTHER_SHAPE[which]
    for first, second in ((A, a), (a, A)):
        for kwargs in ({}, {"out": np.ones_like(A)}, {"axis": 5}, {"num_threads": 1}):
            assert refuses(ValueError, "^diff_dst and dst must have the same shape; got ", first, second, **kwargs)


@pytest.mark.parametrize("which", ANSWERED)
def test_operands_that_are_answered(nothing_else, which):
    a = ANSWERED[which]
    plain = np.array(a, order="C")
    for first, second, same in ((A, a, (A, plain)), (a, A, (plain, A)), (a, a, (plain, plain))):
        expected = fastlsm.log_softmax_backward(*same)
        assert fastlsm.log_softmax_backward(first, second).tobytes() == expected.tobytes()
        out = backwards(np.zeros_like(expected))
        assert fastlsm.log_softmax_backward(first, second, out=out) is out
        assert out.tobytes() == expected.tobytes()


@counts_references
@pytest.mark.parametrize("which", OUT_DECLINED)
def test_results_that_are_declined(which):
    assert declines(A, A, out=OUT_DECLINED[which])


@counts_references
@pytest.mark.parametrize("which", OUT_REFUSED)
def test_results_that_are_refused(which):
    out, message = OUT_REFUSED[which]
    assert refuses((TypeError, ValueError), message, A, A, out=out)


@counts_references
@pytest.mark.parametrize("which", OUT_THROUGH_A_TEMPORARY)
def test_results_through_a_temporary(which):
    assert takes_a_temporary(A, A, OUT_THROUGH_A_TEMPORARY[which])


@counts_references
@pytest.mark.parametrize("which", KEYWORDS_DECLINED)
def test_keywords_that_are_declined(which):
    assert declines(A, A, **KEYWORDS_DECLINED[which])


@counts_references
@pytest.mark.parametrize("which", KEYWORDS_REFUSED)
def test_keywords_that_are_refused(which):
    message = (
        "^axis .* is out of bounds for array of dimension 2$|^duplicate value in 'axis'$|^dtype is .*; supported are "
    )
    assert refuses((TypeError, ValueError), message, A, A, **KEYWORDS_REFUSED[which])


def test_a_dtype_is_made_native_and_counts_for_nothing_beside_out(nothing_else):
    assert fastlsm.log_softmax(A, dtype=FLOAT32.newbyteorder()).dtype.isnative
    out = np.zeros(A.shape)
    assert fastlsm.log_softmax(A, out=out, dtype=np.float16) is out
    assert np.array_equal(out, fastlsm.log_softmax(A, dtype=np.float64))


def test_the_first_of_several_errors_is_raised():
    """The same one, whether the kernels take the call as it is or not."""
    second, axis, dtype, out = A[:3], 2, np.dtype(np.int32), read_only(np.zeros((4, 7), np.float64))
    wrong_dtype = np.zeros((4, 7), np.int32)
    for message, x, kwargs in (
        ("^diff_dst and dst must have the same shape", second, {"axis": axis, "dtype": dtype, "out": wrong_dtype}),
        ("^axis 2 is out of bounds", A, {"axis": axis, "dtype": dtype, "out": wrong_dtype}),
        ("^dtype is int32", A, {"dtype": dtype, "out": wrong_dtype}),
        ("^out has dtype int32", A, {"out": wrong_dtype}),
        (r"with shape \(4, 7\) doesn't match the shape \(4, 8\)$", A, {"out": out}),
        ("^out: output array is read-only$", A, {"out": read_only(A)}),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            answered(A, x, **kwargs)
        with pytest.raises((TypeError, ValueError), match=message):
            fastlsm.log_softmax_backward(A.tolist(), dst=x.tolist(), **kwargs)


@counts_references
@pytest.mark.parametrize("by", [1, 8, 31])
def test_overlap_takes_a_temporary(by):
    first, second = overlapping(A, by)
    assert takes_a_temporary(first, A, second)
    assert takes_a_temporary(A, first, second)
    assert takes_a_temporary(second, A, first)
    assert takes_a_temporary(A, second, first)
    apart = overlapping(A, 32)
    assert not takes_a_temporary(apart[0], A, apart[1])


@counts_references
def test_elements_that_overlap_take_a_temporary(monkeypatch):
    out = np.lib.stride_tricks.as_strided(np.zeros(40, np.float32), (4, 8), (4, 4))
    temporaries = []
    copyto = np.copyto
    monkeypatch.setattr(np, "copyto", lambda *args: temporaries.append(args[1].copy()) or copyto(*args))
    assert answered(A, A, out=out) is out
    assert np.array_equal(temporaries, [answered(A, A)])


@counts_references
def test_parts_of_matrices_that_overlap_take_a_temporary():
    memory = np.random.default_rng(6).normal(size=(9, 32)).astype(np.float32)
    part = memory[:4, :16:2]
    expected = answered(part.copy(), A)
    for out in (memory[1:5, :16:2], memory[:4, 2:10], memory[:8:2, :16:2]):
        assert takes_a_temporary(part, A, out)
        assert takes_a_temporary(A, part, out)
    assert not takes_a_temporary(part, A, memory[:4, 1:16:2])
    assert not takes_a_temporary(part, A, memory[4:8, :16:2])
    assert answered(part, A, out=part) is part
    assert np.array_equal(part, expected)


@counts_references
def test_overlap_with_another_itemsize_takes_a_temporary():
    """Which array is the longer in bytes depends on the dtypes."""
    memory = np.zeros(96, np.float32)
    memory[:32] = A.ravel()
    short, long = memory[:32].reshape(4, 8), memory.view(np.float64)
    assert takes_a_temporary(short, A, long[:32].reshape(4, 8))
    assert takes_a_temporary(short, A, long[15:47].reshape(4, 8))
    assert takes_a_temporary(memory[48:80].reshape(4, 8), A, long[:32].reshape(4, 8))
    wide = long[:32].reshape(4, 8)
    assert takes_a_temporary(wide, wide, memory[63:95].reshape(4, 8))
    assert not takes_a_temporary(wide, wide, memory[64:].reshape(4, 8))


@pytest.mark.parametrize("which", ["subclass", "misaligned", "byte-swapped", "matrix"])
def test_what_is_declined_is_answered_all_the_same(which):
    expected = fastlsm.log_softmax_backward(A, dst=A)
    result = fastlsm.log_softmax_backward(A, dst=DECLINED[which])
    assert type(result) is np.ndarray
    assert np.array_equal(result, expected)


WRONG = [
    {"num_threads": 0},
    {"num_threads": -(10**30)},
    {"num_threads": 1.5},
    {"num_threads": True},
    {"num_threads": 0, "out": np.zeros_like(A)},
    {"dtype": "nonsense"},
    {"dtype": np.int32},
    {"dtype": np.int32, "num_threads": 0},
    {"axis": 2},
    {"axis": 10**30},
    {"axis": True, "dtype": "nonsense"},
    {"axis": 1.0},
    {"axis": (0, 2)},
    {"axis": (0, -2)},
    {"axis": (0, 1.0)},
    {"out": np.zeros((4, 7), np.float32), "num_threads": 0},
    {"out": read_only(A)},
    {"out": np.ma.array(A)},
    {"out": np.zeros((4, 8), complex)},
]


@every_form
@pytest.mark.parametrize("kwargs", WRONG, ids=str)
def test_the_same_errors_as_the_general_way(form, kwargs):
    out = kwargs.get("out", A)
    before = out.tobytes()
    errors = []
    for call in (FORMS[form], lambda g, x, **kw: the_general_way(form, g, x, **kw)):
        with pytest.raises((TypeError, ValueError)) as error:
            call(A, A, **kwargs)
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]
    assert out.tobytes() == before


def test_no_result_is_made_in_a_dtype_that_is_refused():
    """There would be no room for this one."""
    with pytest.raises(TypeError, match=r"^dtype is \|V2147483647; supported are "):
        fastlsm.log_softmax(np.zeros(1 << 20), dtype="V2147483647")
