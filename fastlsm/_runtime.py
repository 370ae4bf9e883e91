"""Which kernels run."""

import importlib
import os
import struct
from importlib.util import find_spec

from fastlsm import _caches

# Best first; a build has those of its processor family.
LEVELS = ("v4", "v3", "baseline", "arm64", "generic")

_VARIABLE = "FASTLSM_ISA"


def _module_name(level):
    return f"{__package__}._kernels_{level}"


def _load(level):
    name = _module_name(level)
    file = find_spec(name).origin
    try:
        if _is_cut_short(file):
            raise ImportError("the file has been cut short")
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"fastlsm's compiled kernels in {file} cannot be loaded: {error}. Reinstall fastlsm for this Python: "
            "pip install --force-reinstall --no-cache-dir fastlsm"
        ) from error


def _is_cut_short(file):
    """Whether an ELF file has lost its end. To load such a file kills the process.

    The section table is at the end as linkers write it. Tools that change a file, as those for wheels do, leave that
    table where it was and add segments behind it.
    """
    with open(file, "rb") as opened:
        header = opened.read(64)
        size = os.fstat(opened.fileno()).st_size
        if len(header) < 64 or not header.startswith(b"\x7fELF\x02"):  # of 64 bits
            return False
        segments, sections = struct.unpack_from("=QQ", header, 32)
        segment_size, segment_count, section_size, section_count = struct.unpack_from("=4H", header, 54)
        opened.seek(segments)
        table = opened.read(segment_size * segment_count)
    end = max(segments + segment_size * segment_count, sections + section_size * section_count)
    if size < end:
        return True
    starts = range(0, len(table), segment_size)
    return any(size < sum(struct.unpack_from("=Q16xQ", table, start + 8)) for start in starts)  # offset, length


def built_levels():
    """The instruction-set levels that this installation has kernels for, best first."""
    return [level for level in LEVELS if find_spec(_module_name(level))]


def usable_levels():
    """Those of them that this processor can run, best first."""
    built = built_levels()
    if not built:
        folder = os.path.dirname(__file__)
        others = ", ".join(sorted(name for name in os.listdir(folder) if name.startswith("_kernels_")))
        raise ImportError(
            f"fastlsm's compiled kernels are missing from {folder}"
            + (f": {others} are not for this Python. " if others else ". ")
            + "If that is the source folder, it hides the installed package: run Python elsewhere, or compile in place "
            "with 'pip install -e .'. If not, reinstall fastlsm."
        )
    # The lowest level is compiled for every processor of its family, so it is the one to ask.
    probe = _load(built[-1])
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
kernels = _load(level)
second_level_cache = _caches.second_level()
kernels.set_caches(**_caches.limits(second_level_cache[0]))
