"""torch.compile of the formula, with inductor, for exactly these shapes and strides."""

import logging
import os

import torch

from benchmarks.rivals.prepared import Prepared
from benchmarks.rivals.torch_tensors import tensor

logging.getLogger("torch").setLevel(logging.ERROR)


def _formula(form, axis):
    def dst_form(diff_dst, dst, out):
        out.copy_(diff_dst - dst.exp() * diff_dst.sum(axis, keepdim=True))

    def src_form(diff_dst, src, out):
        out.copy_(diff_dst - src.softmax(axis) * diff_dst.sum(axis, keepdim=True))

    def forward(src, out):
        out.copy_(src.log_softmax(axis))

    return {"dst": dst_form, "src": src_form, "forward": forward}[form]


def prepare(problem):
    torch._dynamo.reset()  # or its limit of recompilations ends in the eager mode, in silence
    options = {"cpp.simdlen": 256} if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2" else None
    compiled = torch.compile(_formula(problem.form, problem.axis), dynamic=False, fullgraph=True, options=options)
    arguments = [tensor(a, problem) for a in (*problem.operands(problem.diff_dst, problem.x), problem.out)]
    return Prepared(lambda: compiled(*arguments), lambda: problem.out)


CONTENDERS = {"torch.compile": prepare}
