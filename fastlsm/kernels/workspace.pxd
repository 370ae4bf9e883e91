"""The memory that walks work in (include/workspace.hpp)."""

from fastlsm.kernels.loops cimport Constants, Sum

cdef extern from "workspace.hpp" nogil:
    struct Chunk:
        double* elements
    struct KeptRow:
        double* elements
    cppclass RowConstants:
        Constants constants() noexcept
    cppclass TileConstants:
        Constants constants() noexcept
    struct Part:
        double max
        Sum diff_dst
        Sum exps
        Sum others
        double count
    struct Parts:
        Part* parts
    struct Reduced:
        double* max
        double* diff_dst_hi
        double* diff_dst_lo
    cppclass Workspace:
        double* stage
        double* result
        double* flat
        double* lanes
        double* pattern
        TileConstants constants
