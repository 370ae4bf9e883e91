"""The most memory that a call takes besides what is there already, by Linux's own high-water mark."""

import ctypes
import gc
import sys
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def is_available():
    return sys.platform == "linux" and _RESET.exists()


def _kilobytes(name):
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise OSError(f"{_STATUS} has no {name}")


def peak_extra(call):
    """Bytes. Freed memory goes back to the system first, so that the call cannot take it unseen."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _kilobytes("VmRSS:")
    _RESET.write_text("5")
    call()
    return max(0, _kilobytes("VmHWM:") - before) * 1024
