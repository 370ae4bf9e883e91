"""The log-softmax gradient, and its forward, for NumPy arrays."""

from fastlsm._api import log_softmax, log_softmax_backward
from fastlsm._config import show_config
from fastlsm._threads import get_num_threads, set_num_threads

__all__ = ["get_num_threads", "log_softmax", "log_softmax_backward", "set_num_threads", "show_config"]
__version__ = "0.1.0.dev0"
