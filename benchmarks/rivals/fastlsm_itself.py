"""fastlsm, called as a user would."""

from functools import partial

import fastlsm
from benchmarks.rivals.prepared import Prepared


def prepare(problem, **options):
    diff_dst, x, axis, out = problem.diff_dst, problem.x, problem.axis, problem.out
    call = {
        "dst": partial(fastlsm.log_softmax_backward, diff_dst, dst=x, axis=axis, out=out, **options),
        "src": partial(fastlsm.log_softmax_backward, diff_dst, x, axis=axis, out=out, **options),
        "forward": partial(fastlsm.log_softmax, x, axis=axis, out=out, **options),
    }[problem.form]
    return Prepared(call, lambda: out)


CONTENDERS = {"fastlsm": prepare}
