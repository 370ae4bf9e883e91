"""Which kernels run, and on how many threads."""

import importlib
import operator
import os
from importlib.util import find_spec

# Best first; a build has those of its processor family.
LEVELS = ("v4", "v3", "baseline", "arm64", "generic")

_VARIABLE = "FASTLSM_ISA"


def _module_name(level):
    return f"{__package__}._kernels_{level}"


def built_levels():
    """The instruction-set levels that this installation has kernels for, best first."""
    return [level for level in LEVELS if find_spec(_module_name(level))]


def usable_levels():
    """Those of them that this processor can run, best first."""
    built = built_levels()
    if not built:
        raise ImportError(
            f"fastlsm's compiled kernels are missing from {os.path.dirname(__file__)}. If that is the source folder, "
            "it hides the installed package: run Python elsewhere, or compile in place with 'pip install -e .'. "
            "If not, reinstall fastlsm."
        )
    # The lowest level is compiled for every processor of its family, so it is the one to ask.
    probe = importlib.import_module(_module_name(built[-1]))
    return [level for level in built if probe.supports(level)]


def _choose():
    usable = usable_levels()
    wanted = os.environ.get(_VARIABLE)
    if not wanted:
        return usable[0]
    if wanted not in usable:
        why = "this processor lacks it" if wanted in built_levels() else "there is no such level"
        raise ImportError(f"{_VARIABLE}={wanted!r}: {why}; there is {', '.join(usable)}")
    return wanted


level = _choose()
kernels = importlib.import_module(_module_name(level))

_processors = os.cpu_count() or 1

# libgomp hangs in a child that was forked after the parent had used its threads.
_process = os.getpid()


def threads_for(elements, num_threads):
    """The threads for a call on so many elements; `num_threads` is the caller's limit or None."""
    limit = kernels.max_threads() if num_threads is None else _checked_num_threads(num_threads)
    limit = min(limit, elements // kernels.ELEMENTS_PER_THREAD)
    return limit if limit > 1 and os.getpid() == _process else 1


def _checked_num_threads(num_threads):
    if isinstance(num_threads, bool):
        raise TypeError(f"num_threads must be an integer or None, got {num_threads!r}")
    try:
        count = operator.index(num_threads)
    except TypeError:
        raise TypeError(f"num_threads must be an integer or None, got {num_threads!r}") from None
    if count < 1:
        raise ValueError(f"num_threads must be at least 1, got {count}")
    return min(count, max(kernels.max_threads(), _processors))
