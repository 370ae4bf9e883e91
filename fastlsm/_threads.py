"""On how many threads a call runs."""

import os
import threading
import time

from fastlsm._arguments import count_or_none
from fastlsm._backoff import Backoff
from fastlsm._runtime import kernels

_ELEMENTS_PER_THREAD = int(kernels.ELEMENTS_PER_THREAD)
_LONG = 1 << 22  # elements from which on a call takes longer than a thread is waited for
_MOST_TEAMS = 4


def set_num_threads(num_threads):
    """Set how many threads a call may use, for the whole process.

    Parameters
    ----------
    num_threads : int or None
        At most so many in every call that is not given `num_threads` itself,
        and never more than there are processors (or than ``OMP_NUM_THREADS``
        if that is more). None goes back to the default, which
        `get_num_threads` describes.

    Raises
    ------
    TypeError
        If `num_threads` is neither an integer nor None.
    ValueError
        If it is below 1.

    See Also
    --------
    get_num_threads : What holds at present.

    Examples
    --------
    >>> import fastlsm
    >>> fastlsm.set_num_threads(1)
    >>> fastlsm.get_num_threads()
    1
    >>> fastlsm.set_num_threads(None)
    """
    global _set
    _set = checked_num_threads(num_threads)


def get_num_threads():
    """At most how many threads a large call would use, here and now.

    It uses one while another call has threads, in all but four of the
    process's Python threads, and for up to a second after calls that took
    longer on several threads than they would have on one.

    Returns
    -------
    int
        1 in a forked child and in a parallel region of OpenMP; else what
        `set_num_threads` set; else, if ``OMP_NUM_THREADS`` was set when
        fastlsm was imported, what OpenMP says, which is that or a limit of
        threadpoolctl's; else the least of the processors in the affinity mask,
        the processors' worth of time that a container may use (the control
        group's quota, rounded up, read once) and a limit of threadpoolctl's.

    See Also
    --------
    set_num_threads : To set it.
    show_config : Where it comes from.

    Examples
    --------
    >>> import fastlsm
    >>> fastlsm.get_num_threads() >= 1
    True
    """
    return available()[0]


def threads_for(elements, num_threads):
    """The threads for a call on so many elements; `num_threads` is the caller's limit, at least 1, or None."""
    most = elements // _ELEMENTS_PER_THREAD
    if most < 2 or (elements < _LONG and _backoff.holds()):
        return 1
    if num_threads is None:
        most = min(most, available()[0])
    elif _is_forked() or kernels.openmp_threads()[0]:
        return 1
    else:
        most = min(most, num_threads, _MOST)
    return most if most > 1 and _has_team() else 1


def note_lost(seconds):
    """A call took so much longer on several threads than it would have on one. One call at a time has several."""
    _backoff.note(seconds)


def _is_forked():
    """Whether this is a forked child. libgomp hangs in one if its parent has used threads."""
    return os.getpid() != _process


def _has_team():
    """Whether the calling thread may have threads of OpenMP's: libgomp keeps a team for each that ever had."""
    global _with_team
    if getattr(_this_thread, "has_team", False):
        return True
    with _registering:
        alive = [thread for thread in _with_team if thread.is_alive()]
        if len(alive) >= _MOST_TEAMS:
            return False
        _with_team = [*alive, threading.current_thread()]
    _this_thread.has_team = True
    return True


def available():
    """What `get_num_threads` returns, and where it comes from."""
    inside, openmp = kernels.openmp_threads()
    if not openmp:
        return 1, "built without OpenMP"
    if _is_forked():
        return 1, "a forked child"
    if inside:
        return 1, "a parallel region of OpenMP"
    if _set is not None:
        return _set, "set_num_threads"
    if _OMP_NUM_THREADS:
        if openmp != _OMP_NUM_THREADS:
            return openmp, "OpenMP's limit"
        return _OMP_NUM_THREADS, "OMP_NUM_THREADS"
    count, source = kernels.processors() or _processors(), "affinity mask"
    if _quota() < count:
        count, source = _quota(), "control group's quota"
    # OpenMP left alone takes as many as there were processors when it was loaded.
    if openmp < count:
        count, source = openmp, "OpenMP's limit"
    return count, source


def omp_num_threads(environ):
    """OMP_NUM_THREADS as OpenMP reads it, of a list the first; None if it is not set."""
    first = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) or None if first.isdecimal() else None


def checked_num_threads(num_threads):
    """`num_threads` as an int, no larger than makes sense, or None."""
    count = count_or_none(num_threads, "num_threads", 1)
    return None if count is None else min(count, _MOST)


def _processors():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota():
    global _quota_read
    if _quota_read is None:
        # Not every program comes here, and pathlib takes milliseconds to import.
        from pathlib import Path

        from fastlsm import _cgroup

        _quota_read = _cgroup.processors(Path("/"))
    return _quota_read


_set = None
_quota_read = None
_process = os.getpid()
_with_team: list[threading.Thread] = []
_this_thread = threading.local()
_registering = threading.RLock()  # of a signal's handler, too
_backoff = Backoff(time.monotonic)
_CPUS = os.cpu_count() or 1
_OMP_NUM_THREADS = omp_num_threads(os.environ)
_MOST = max(_CPUS, _OMP_NUM_THREADS or 1)
