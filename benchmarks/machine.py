"""The machine, what is installed on it, and who else is using it."""

import os
import platform
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "fastlsm", "numpy", "numba", "llvmlite", "torch", "jax", "jaxlib", "onednn-cpu-gomp", "scipy", "ml_dtypes",
)  # fmt: skip
_NOT_QUIET = 0.05  # of the machine's time, in other hands
_ASSUMED_CACHE = 32 << 20  # where the system does not tell


def describe():
    from threadpoolctl import threadpool_info

    from fastlsm._runtime import level

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "caches": caches(),
        "memory": memory(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "fastlsm's instruction set": level,
        "thread pools": [f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()],
        "versions": dict(_versions()),
    }


def _versions():
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _processor():
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def caches():
    """Bytes of each of the first core's caches, by level and kind, as Linux tells."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with suppress(OSError, ValueError):
            kind, size = (index / "type").read_text().strip(), (index / "size").read_text().strip()
            name = f"L{(index / 'level').read_text().strip()}" + {"Data": "d", "Instruction": "i"}.get(kind, "")
            found[name] = int(size.rstrip("KM")) << (20 if size.endswith("M") else 10)
    return found


def last_level_cache():
    return max(caches().values(), default=_ASSUMED_CACHE)


def available_memory():
    """Bytes that can be taken without swapping, as Linux tells; all of the memory elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024
    return memory()


def memory():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Watch:
    """What fraction of the machine's time went to others, the hypervisor's other guests among them."""

    def __init__(self):
        self.start = self._times()

    @staticmethod
    def _times():
        """Ticks in all, busy ticks, this process's and its children's own, and those that the hypervisor kept."""
        try:
            fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        except OSError:
            return None
        idle = fields[3] + fields[4]
        own = sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK")
        return sum(fields), sum(fields) - idle, own, fields[7]

    def others(self):
        """The fraction since the start, or None where the system does not tell."""
        return self._fraction(lambda busy, own, stolen: busy - own)

    def stolen(self):
        """The part of it that went to the hypervisor's other guests."""
        return self._fraction(lambda busy, own, stolen: stolen)

    def _fraction(self, part):
        now = self._times()
        if not now or not self.start or now[0] == self.start[0]:
            return None
        total, *ticks = (b - a for a, b in zip(self.start, now, strict=True))
        return max(0.0, part(*ticks) / total)


def is_quiet(others):
    return others is None or others <= _NOT_QUIET


def taken(results):
    """What others took, in words."""
    return (
        f"Others took {percent(results['others'])} of the machine's time; what the hypervisor stole is "
        f"{percent(results['stolen'])}, and among it."
    )


def percent(fraction):
    return "?" if fraction is None else f"{fraction:.0%}"
