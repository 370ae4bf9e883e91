"""The threads that share a piece of work, and who has which part of it."""

from fastlsm.kernels.loops cimport TeamTimer
from fastlsm.kernels.problem cimport blocks
from fastlsm.kernels.workspace cimport Workspace


cdef struct Range:
    Py_ssize_t first, last

cdef struct Team:               # as one of the threads sees it
    Workspace* workspaces       # of all of them
    int index, threads
    TeamTimer* timer            # NULL if there is only one
    double begun                # when a thread that never waited would have begun


cdef inline Range part_of(Py_ssize_t count, Py_ssize_t unit, int index, int parts) noexcept nogil:
    """One of so many equal parts of `count`, in whole units."""
    cdef Py_ssize_t units = blocks(count, unit)
    return Range(min(count, units * index // parts * unit), min(count, units * (index + 1) // parts * unit))
