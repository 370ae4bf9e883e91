"""The second-level cache, and which sizes of arrays the kernels take from it.

The last level is no guide: a virtual machine is told that of its host, which it shares with others.
"""

import os

_ASSUMED = 2 << 20  # bytes, where the system does not tell
_LEAST, _MOST = 128 << 10, 8 << 20  # what the system tells is believed within these


def second_level(root="/sys/devices/system/cpu"):
    """The bytes of the second-level cache that one processor has for itself, and who says so."""
    processor = f"cpu{min(os.sched_getaffinity(0))}" if hasattr(os, "sched_getaffinity") else "cpu0"
    for index in range(8):
        folder = f"{root}/{processor}/cache/index{index}"
        try:
            if int(_read(f"{folder}/level")) == 2 and _read(f"{folder}/type") != "Instruction":
                return _bytes(_read(f"{folder}/size")) // _count(_read(f"{folder}/shared_cpu_list")), "Linux"
        except (OSError, ValueError):
            break
    return _ASSUMED, "assumed"


def limits(second):
    """What `kernels.set_caches` takes, where a processor has `second` bytes of second-level cache.

    Other numbers were tried on two processors, on one thread. Here is the time with each, over the time with these:

                   2 MB, Intel Sapphire Rapids          1 MB, AMD Zen 4
        ahead_from 128 KB 0.98, 8 MB 0.99               512 KB 1.01, 1 MB 1.03, 8 MB 1.11
        far_from   4 MB 1.01, 64 MB 1.15                4 MB 1.06 (results of 6 MB), 16 MB 1.2 (results of 12 MB)
        stage      not tried                            half 1.08, a quarter 1.11
    """
    second = min(max(second, _LEAST), _MOST)
    return {"ahead_from": second // 4, "far_from": 8 * second, "stage": second // 4 // 8}


def _read(path):
    with open(path) as file:
        return file.read().strip()


def _bytes(size):
    """Of "1024K", as Linux writes it."""
    unit = {"K": 10, "M": 20}.get(size[-1:], 0)
    return int(size[:-1] if unit else size) << unit


def _count(processors):
    """How many processors a list such as "0,2-3" has."""
    ranges = [part.partition("-") for part in processors.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)
