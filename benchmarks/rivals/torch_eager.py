"""PyTorch's own operations, as its autograd calls them.

The src form is its forward, into an intermediate allocated beforehand, and then its backward.
"""

from functools import partial

import torch

from benchmarks.problem import aligned_empty
from benchmarks.rivals.prepared import NotApplicable, Prepared
from benchmarks.rivals.torch_tensors import dtype_of, tensor

_forward = torch.ops.aten._log_softmax.default
_forward_out = torch.ops.aten._log_softmax.out
_backward = torch.ops.aten._log_softmax_backward_data.default
_backward_out = torch.ops.aten._log_softmax_backward_data.out


def prepare_functional(problem):
    dtype, axis = dtype_of(problem), problem.axis
    diff_dst, x = tensor(problem.diff_dst, problem), tensor(problem.x, problem)
    last = []

    def call():
        if problem.form == "forward":
            last[:] = [_forward(x, axis, False)]
        elif problem.form == "dst":
            last[:] = [_backward(diff_dst, x, axis, dtype)]
        else:
            last[:] = [_backward(diff_dst, _forward(x, axis, False), axis, dtype)]

    return Prepared(call, lambda: last[0].float().numpy() if problem.dtype.itemsize == 2 else last[0].numpy())


def _prepare_out(problem, diff_dst, x, axis, out, result):
    dtype = dtype_of(problem)
    diff_dst, x, out = (tensor(array, problem) for array in (diff_dst, x, out))
    if problem.form == "forward":
        return Prepared(partial(_forward_out, x, axis, False, out=out), result)
    if problem.form == "dst":
        return Prepared(partial(_backward_out, diff_dst, x, axis, dtype, out=out), result)
    dst = torch.empty_like(out)

    def call():
        _forward_out(x, axis, False, out=dst)
        _backward_out(diff_dst, dst, axis, dtype, out=out)

    return Prepared(call, result, dst.numel() * dst.element_size())


def prepare_out(problem):
    return _prepare_out(problem, problem.diff_dst, problem.x, problem.axis, problem.out, lambda: problem.out)


def prepare_c_ordered_out(problem):
    """For a result that is not in C order: PyTorch may get that one wrong."""
    if problem.out.flags.c_contiguous:
        raise NotApplicable
    out = aligned_empty(problem.out.shape, problem.dtype)
    return _prepare_out(problem, problem.diff_dst, problem.x, problem.axis, out, lambda: out)


def prepare_memory_order(problem):
    """For a view with its axes permuted: the same with the axes as the memory has them, which saves PyTorch copies."""
    if problem.out.flags.c_contiguous:
        raise NotApplicable
    diff_dst, x = problem.taken(problem.diff_dst_parent), problem.taken(problem.x_parent)
    return _prepare_out(problem, diff_dst, x, problem.memory_axis, problem.taken_out, lambda: problem.out)


CONTENDERS = {
    "PyTorch": prepare_functional,
    "PyTorch out=": prepare_out,
    "PyTorch out= C order": prepare_c_ordered_out,
    "PyTorch axes permuted": prepare_memory_order,
}
