"""The log-softmax gradient, and its forward, for NumPy arrays."""

from fastlsm._api import log_softmax, log_softmax_backward

__all__ = ["log_softmax", "log_softmax_backward"]
__version__ = "0.1.0"
