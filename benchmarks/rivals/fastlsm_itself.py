"""fastlsm, called as a user would."""

from functools import partial

import fastlsm
from benchmarks.rivals.prepared import Prepared


def prepare(problem, package=fastlsm, **options):
    diff_dst, x, axis, out = problem.diff_dst, problem.x, problem.axis, problem.out
    call = {
        "dst": partial(package.log_softmax_backward, diff_dst, dst=x, axis=axis, out=out, **options),
        "src": partial(package.log_softmax_backward, diff_dst, x, axis=axis, out=out, **options),
        "forward": partial(package.log_softmax, x, axis=axis, out=out, **options),
    }[problem.form]
    return Prepared(call, lambda: out)


CONTENDERS = {"fastlsm": prepare}
