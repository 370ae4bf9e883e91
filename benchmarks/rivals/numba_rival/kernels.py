"""The Numba kernels: rows, one long row, many short rows, columns.

Each kernel takes `diff_dst`, `x` (src or dst, as the form has it), `out` and the number of threads; the forward ignores
`diff_dst`. LLVM vectorises the loops over elements; sums are of the arithmetic's own type.
"""

from functools import cache

import numpy as np
from numba import njit, prange

from benchmarks.rivals.numba_rival.scalar import OPTIONS, conversions, exp_for, log_for

BLOCK_ELEMENTS = 4096  # of short rows, to stay in the first-level cache
TILE_ELEMENTS = 1 << 15  # of columns, to stay in the second-level cache where that does not make it too narrow
NARROWEST_TILE, WIDEST_TILE = 512, 2048

# Otherwise Numba starts its threads for sums over an array of two elements, too.
PRANGE_ONLY = dict.fromkeys(("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil"), False)


def _walk(shared=True):
    """Decorates a kernel; one that is not shared runs its `prange` on the caller's thread."""
    return njit(parallel=PRANGE_ONLY if shared else False, **OPTIONS)


def _real(dtype_name):
    """The type of the arithmetic."""
    return np.float64 if dtype_name == "float64" else np.float32


@cache
def _phases(dtype_name, step):
    """The steps that n elements of a row go through; an operand's elements are `step` apart.

    Every index counts from 0: Numba would test any other for being negative, and the loop would not vectorise.
    """
    real = _real(dtype_name)
    load, store = conversions(dtype_name)
    exp = exp_for(real)
    zero, lowest = real(0), real(np.finfo(real).min)

    @njit(**OPTIONS)
    def total_of(diff_dst, n):
        total = zero
        for j in range(n):
            total += load(diff_dst[j * step])
        return total

    @njit(**OPTIONS)
    def peak_of(src, n):
        peak = lowest
        for j in range(n):
            peak = max(peak, load(src[j * step]))
        return peak

    @njit(**OPTIONS)
    def mass_of(src, n, peak):
        mass = zero
        for j in range(n):
            mass += exp(load(src[j * step]) - peak)
        return mass

    @njit(**OPTIONS)
    def exp_into(scratch, src, peak):
        mass = zero
        for j in range(scratch.size):
            e = exp(load(src[j * step]) - peak)
            scratch[j] = e
            mass += e
        return mass

    @njit(**OPTIONS)
    def write_dst_form(out, diff_dst, dst, total):
        for j in range(out.size):
            out[j] = store(load(diff_dst[j * step]) - exp(load(dst[j * step])) * total)

    @njit(**OPTIONS)
    def write_src_form(out, diff_dst, scratch, factor):
        for j in range(out.size):
            out[j] = store(load(diff_dst[j * step]) - scratch[j] * factor)

    @njit(**OPTIONS)
    def write_forward(out, src, shift):
        for j in range(out.size):
            out[j] = store(load(src[j * step]) - shift)

    return total_of, peak_of, mass_of, exp_into, write_dst_form, write_src_form, write_forward


@cache
def rows(dtype_name, form, step, shared=True):
    """For (outer, n): each thread takes its share of the rows, one after the other."""
    real = _real(dtype_name)
    log = log_for(real)
    total_of, peak_of, mass_of, exp_into, write_dst_form, write_src_form, write_forward = _phases(dtype_name, step)

    @njit(**OPTIONS)
    def dst_row(diff_dst, dst, out, scratch):
        write_dst_form(out, diff_dst, dst, total_of(diff_dst, out.size))

    @njit(**OPTIONS)
    def src_row(diff_dst, src, out, scratch):
        mass = exp_into(scratch, src, peak_of(src, out.size))
        write_src_form(out, diff_dst, scratch, total_of(diff_dst, out.size) / mass)

    @njit(**OPTIONS)
    def forward_row(diff_dst, src, out, scratch):
        peak = peak_of(src, out.size)
        write_forward(out, src, peak + log(mass_of(src, out.size, peak)))

    row = {"dst": dst_row, "src": src_row, "forward": forward_row}[form]

    @_walk(shared)
    def kernel(diff_dst, x, out, threads):
        outer, n = out.shape
        for thread in prange(threads):
            scratch = np.empty(n, real)
            for i in range(outer * thread // threads, outer * (thread + 1) // threads):
                row(diff_dst[i], x[i], out[i], scratch)

    return kernel


@cache
def long_rows(dtype_name, form, step):
    """For (outer, n) with fewer rows than threads: the threads share each row."""
    real = _real(dtype_name)
    log = log_for(real)
    total_of, peak_of, mass_of, exp_into, write_dst_form, write_src_form, write_forward = _phases(dtype_name, step)

    @_walk()
    def dst_row(diff_dst, dst, out, scratch, totals, peaks, masses):
        n, threads = out.size, totals.size
        for t in prange(threads):
            start, stop = n * t // threads, n * (t + 1) // threads
            totals[t] = total_of(diff_dst[start * step :], stop - start)
        total = totals.sum()
        for t in prange(threads):
            start, stop = n * t // threads, n * (t + 1) // threads
            write_dst_form(out[start:stop], diff_dst[start * step :], dst[start * step :], total)

    @_walk()
    def src_row(diff_dst, src, out, scratch, totals, peaks, masses):
        n, threads = out.size, totals.size
        for t in prange(threads):
            start, stop = n * t // threads, n * (t + 1) // threads
            part = src[start * step :]
            totals[t] = total_of(diff_dst[start * step :], stop - start)
            peaks[t] = peak_of(part, stop - start)
            masses[t] = exp_into(scratch[start:stop], part, peaks[t])
        # Each part has its own peak, so that the threads meet once.
        weights = np.exp(peaks - peaks.max())
        factors = weights * (totals.sum() / (masses * weights).sum())
        for t in prange(threads):
            start, stop = n * t // threads, n * (t + 1) // threads
            write_src_form(out[start:stop], diff_dst[start * step :], scratch[start:stop], factors[t])

    @_walk()
    def forward_row(diff_dst, src, out, scratch, totals, peaks, masses):
        n, threads = out.size, totals.size
        for t in prange(threads):
            start, stop = n * t // threads, n * (t + 1) // threads
            part = src[start * step :]
            peaks[t] = peak_of(part, stop - start)
            masses[t] = mass_of(part, stop - start, peaks[t])
        peak = peaks.max()
        shift = peak + log((masses * np.exp(peaks - peak)).sum())
        for t in prange(threads):
            start, stop = n * t // threads, n * (t + 1) // threads
            write_forward(out[start:stop], src[start * step :], shift)

    row = {"dst": dst_row, "src": src_row, "forward": forward_row}[form]

    @njit(**OPTIONS)
    def kernel(diff_dst, x, out, threads):
        totals, peaks, masses = np.empty(threads, real), np.empty(threads, real), np.empty(threads, real)
        scratch = np.empty(out.shape[1], real)
        for i in range(out.shape[0]):
            row(diff_dst[i], x[i], out[i], scratch, totals, peaks, masses)

    return kernel


@cache
def short_rows(dtype_name, form, constant, shared=True):
    """For (outer, n) with a small n: exp runs over the flat block of many rows.

    `constant` is n for the compiler to know, or None: it unrolls the loops over a row, which pays for very short ones.

    What a row has one of (its sum, its peak) is repeated n times in scratch, so that the flat loops need no division.
    """
    real = _real(dtype_name)
    load, store = conversions(dtype_name)
    exp, log = exp_for(real), log_for(real)
    zero = real(0)

    @njit(**OPTIONS)
    def length(array):
        return array.shape[1] if constant is None else constant

    @njit(**OPTIONS)
    def exp_into(scratch, src, peaks):
        """Of src less its row's peak."""
        n = length(scratch)
        for r in range(src.shape[0]):
            peak = load(src[r, 0])
            for j in range(1, n):
                peak = max(peak, load(src[r, j]))
            peaks[r] = peak
            for j in range(n):
                scratch[r, j] = load(src[r, j]) - peak
        flat = scratch.reshape(-1)
        for k in range(src.size):
            flat[k] = exp(flat[k])

    @njit(**OPTIONS)
    def dst_block(diff_dst, dst, out, scratch, repeated, peaks, masses):
        n = length(scratch)
        for r in range(out.shape[0]):
            total = zero
            for j in range(n):
                total += load(diff_dst[r, j])
            for j in range(n):
                repeated[r, j] = total
        flat_out, flat_diff_dst, flat_dst = out.reshape(-1), diff_dst.reshape(-1), dst.reshape(-1)
        flat_repeated = repeated.reshape(-1)
        for k in range(out.size):
            flat_out[k] = store(load(flat_diff_dst[k]) - exp(load(flat_dst[k])) * flat_repeated[k])

    @njit(**OPTIONS)
    def src_block(diff_dst, src, out, scratch, repeated, peaks, masses):
        n = length(scratch)
        exp_into(scratch, src, peaks)
        for r in range(out.shape[0]):
            total = mass = zero
            for j in range(n):
                total += load(diff_dst[r, j])
                mass += scratch[r, j]
            factor = total / mass
            for j in range(n):
                repeated[r, j] = factor
        flat_out, flat_diff_dst = out.reshape(-1), diff_dst.reshape(-1)
        flat_scratch, flat_repeated = scratch.reshape(-1), repeated.reshape(-1)
        for k in range(out.size):
            flat_out[k] = store(load(flat_diff_dst[k]) - flat_scratch[k] * flat_repeated[k])

    @njit(**OPTIONS)
    def forward_block(diff_dst, src, out, scratch, repeated, peaks, masses):
        n = length(scratch)
        exp_into(scratch, src, peaks)
        for r in range(out.shape[0]):
            mass = zero
            for j in range(n):
                mass += scratch[r, j]
            masses[r] = mass
        for r in range(out.shape[0]):
            peaks[r] += log(masses[r])
        for r in range(out.shape[0]):
            for j in range(n):
                repeated[r, j] = peaks[r]
        flat_out, flat_src, flat_repeated = out.reshape(-1), src.reshape(-1), repeated.reshape(-1)
        for k in range(out.size):
            flat_out[k] = store(load(flat_src[k]) - flat_repeated[k])

    block = {"dst": dst_block, "src": src_block, "forward": forward_block}[form]

    @_walk(shared)
    def kernel(diff_dst, x, out, threads):
        outer, n = out.shape
        rows_in_block = max(1, BLOCK_ELEMENTS // n)
        for thread in prange(threads):
            scratch, repeated = np.empty((rows_in_block, n), real), np.empty((rows_in_block, n), real)
            peaks, masses = np.empty(rows_in_block, real), np.empty(rows_in_block, real)
            last = outer * (thread + 1) // threads
            for first in range(outer * thread // threads, last, rows_in_block):
                part = slice(first, min(first + rows_in_block, last))
                block(diff_dst[part], x[part], out[part], scratch, repeated, peaks, masses)

    return kernel


@cache
def columns(dtype_name, form, shared=True):
    """For (outer, n, inner): vectors run across `inner`, over tiles that are wide, not copied, and read again.

    Narrow tiles would stay in the second-level cache between visits, but for a power-of-two stride, which maps a whole
    column onto a few of its sets; tiles copied to scratch were slower than reading twice. exp is computed twice in
    the src form: it costs less than memory to keep it in.
    """
    real = _real(dtype_name)
    load, store = conversions(dtype_name)
    exp, log = exp_for(real), log_for(real)
    zero, lowest = real(0), real(np.finfo(real).min)

    # One-dimensional slices with loops of their own: LLVM vectorises those.
    @njit(**OPTIONS)
    def add(totals, a, b, c, d):
        for k in range(totals.size):
            totals[k] += (load(a[k]) + load(b[k])) + (load(c[k]) + load(d[k]))

    @njit(**OPTIONS)
    def add_one(totals, a):
        for k in range(totals.size):
            totals[k] += load(a[k])

    @njit(**OPTIONS)
    def raise_peaks(peaks, a, b, c, d):
        for k in range(peaks.size):
            peaks[k] = max(peaks[k], max(max(load(a[k]), load(b[k])), max(load(c[k]), load(d[k]))))

    @njit(**OPTIONS)
    def raise_peaks_one(peaks, a):
        for k in range(peaks.size):
            peaks[k] = max(peaks[k], load(a[k]))

    @njit(**OPTIONS)
    def add_exp(masses, src, peaks):
        for k in range(masses.size):
            masses[k] += exp(load(src[k]) - peaks[k])

    @njit(**OPTIONS)
    def write_dst_form(out, diff_dst, dst, totals):
        for k in range(out.size):
            out[k] = store(load(diff_dst[k]) - exp(load(dst[k])) * totals[k])

    @njit(**OPTIONS)
    def write_src_form(out, diff_dst, src, peaks, factors):
        for k in range(out.size):
            out[k] = store(load(diff_dst[k]) - exp(load(src[k]) - peaks[k]) * factors[k])

    @njit(**OPTIONS)
    def write_forward(out, src, shifts):
        for k in range(out.size):
            out[k] = store(load(src[k]) - shifts[k])

    @njit(**OPTIONS)
    def find_totals(diff_dst, tile, totals):
        n = diff_dst.shape[0]
        totals[:] = zero
        for j in range(0, n - 3, 4):
            add(totals, diff_dst[j, tile], diff_dst[j + 1, tile], diff_dst[j + 2, tile], diff_dst[j + 3, tile])
        for j in range(n // 4 * 4, n):
            add_one(totals, diff_dst[j, tile])

    @njit(**OPTIONS)
    def find_masses(src, tile, peaks, masses):
        n = src.shape[0]
        peaks[:] = lowest
        for j in range(0, n - 3, 4):
            raise_peaks(peaks, src[j, tile], src[j + 1, tile], src[j + 2, tile], src[j + 3, tile])
        for j in range(n // 4 * 4, n):
            raise_peaks_one(peaks, src[j, tile])
        masses[:] = zero
        for j in range(n):
            add_exp(masses, src[j, tile], peaks)

    @njit(**OPTIONS)
    def dst_tile(diff_dst, dst, out, tile, totals, peaks, masses):
        find_totals(diff_dst, tile, totals)
        for j in range(out.shape[0]):
            write_dst_form(out[j, tile], diff_dst[j, tile], dst[j, tile], totals)

    @njit(**OPTIONS)
    def src_tile(diff_dst, src, out, tile, totals, peaks, masses):
        find_totals(diff_dst, tile, totals)
        find_masses(src, tile, peaks, masses)
        for k in range(totals.size):
            totals[k] /= masses[k]
        for j in range(out.shape[0]):
            write_src_form(out[j, tile], diff_dst[j, tile], src[j, tile], peaks, totals)

    @njit(**OPTIONS)
    def forward_tile(diff_dst, src, out, tile, totals, peaks, masses):
        find_masses(src, tile, peaks, masses)
        for k in range(peaks.size):
            peaks[k] += log(masses[k])
        for j in range(out.shape[0]):
            write_forward(out[j, tile], src[j, tile], peaks)

    compute = {"dst": dst_tile, "src": src_tile, "forward": forward_tile}[form]

    @_walk(shared)
    def kernel(diff_dst, x, out, threads):
        outer, n, inner = out.shape
        width = min(inner, max(NARROWEST_TILE, min(WIDEST_TILE, TILE_ELEMENTS // n)))
        tiles = (inner + width - 1) // width
        tasks = outer * tiles
        for thread in prange(threads):
            totals, peaks, masses = np.empty(width, real), np.empty(width, real), np.empty(width, real)
            for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
                i, first = task // tiles, task % tiles * width
                last = min(first + width, inner)
                compute(
                    diff_dst[i],
                    x[i],
                    out[i],
                    slice(first, last),
                    totals[: last - first],
                    peaks[: last - first],
                    masses[: last - first],
                )

    return kernel
