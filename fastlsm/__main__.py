"""`python -m fastlsm`: what was built and chosen, and whether it computes right."""

import sys

import numpy as np

import fastlsm


def main():
    fastlsm.show_config()
    src, diff_dst = np.random.default_rng(0).normal(size=(2, 300, 1000))
    exps = np.exp(src)
    softmax = exps / exps.sum(axis=-1, keepdims=True)
    diff_src = diff_dst - softmax * diff_dst.sum(axis=-1, keepdims=True)
    dst = fastlsm.log_softmax(src)
    right = (
        np.allclose(dst, np.log(softmax), rtol=1e-12, atol=1e-12)
        and np.allclose(fastlsm.log_softmax_backward(diff_dst, src), diff_src, rtol=1e-12, atol=1e-12)
        and np.allclose(fastlsm.log_softmax_backward(diff_dst, dst=dst), diff_src, rtol=1e-12, atol=1e-12)
    )
    print("self-check:", "passed" if right else "FAILED: the results are not NumPy's")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
