"""`python -m fastlsm`: what a bug report needs. What is installed and chosen, whether it computes right, how fast."""

import argparse
import json
import platform
import sys
import time

import numpy as np

import fastlsm
from fastlsm._config import print_config


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m fastlsm",
        description="Print what is installed, what was chosen on this machine, whether it computes right, and how "
        "fast. A bug report should hold what this prints.",
        epilog="The exit code is 1 if it computes wrong.",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    options = parser.parse_args(arguments)
    right = _computes_right()
    report = {
        "environment": _environment(),
        **fastlsm.show_config("dicts"),
        "speed": _speed(),
        "self-check": {"result": "passed" if right else "FAILED: the results are not NumPy's"},
    }
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print_config(report)
    return 0 if right else 1


def _environment():
    return {"Python": sys.version, "NumPy": np.__version__, "platform": platform.platform()}


def _computes_right():
    src, diff_dst = np.random.default_rng(0).normal(size=(2, 300, 1000))
    exps = np.exp(src)
    softmax = exps / exps.sum(axis=-1, keepdims=True)
    diff_src = diff_dst - softmax * diff_dst.sum(axis=-1, keepdims=True)
    dst = fastlsm.log_softmax(src)
    return (
        np.allclose(dst, np.log(softmax), rtol=1e-12, atol=1e-12)
        and np.allclose(fastlsm.log_softmax_backward(diff_dst, src), diff_src, rtol=1e-12, atol=1e-12)
        and np.allclose(fastlsm.log_softmax_backward(diff_dst, dst=dst), diff_src, rtol=1e-12, atol=1e-12)
    )


def _speed(seconds=0.2):
    """Of the dst form, in the best of the rounds that fit into so many seconds."""
    diff_dst, dst, out = np.random.default_rng(0).normal(size=(3, 1000, 1000)).astype(np.float32)
    end, best = time.perf_counter() + seconds, float("inf")
    while (begin := time.perf_counter()) < end:
        fastlsm.log_softmax_backward(diff_dst, dst=dst, out=out)
        best = min(best, time.perf_counter() - begin)
    return {
        "of": "dst form, 1000 x 1000 elements of float32",
        "ns per element": round(1e9 * best / out.size, 3),
        "GB/s": round(1e-9 * 3 * out.nbytes / best, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
