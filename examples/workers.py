"""Vocabulary parallel over processes: each holds some of the classes of all rows, and they send each other partials.

    python examples/workers.py [--workers 4]

The logits of a language model lie in shared memory. Each process reads and writes its own columns of it, as a process
on a machine of its own would. For the forward each process sends 56 bytes a row and gets as many back, and again for
the gradient.
"""

import argparse
import multiprocessing
from multiprocessing.shared_memory import SharedMemory

import numpy as np

import fastlsm
from fastlsm import partials

ROWS, CLASSES = 256, 50_000


class SharedArray:
    """A float32 array of ROWS x CLASSES that other processes find by its name."""

    def __init__(self, name=None):
        size = 4 * ROWS * CLASSES
        self.memory = SharedMemory(name, create=name is None, size=size)
        self.array = np.ndarray((ROWS, CLASSES), np.float32, self.memory.buf)
        self.name = self.memory.name

    def close(self):
        self.array = None
        self.memory.close()


def work(columns, names, others):
    """One process: the forward and the gradient of its columns."""
    shared = [SharedArray(name) for name in names]
    src, dst, diff_dst, diff_src = (each.array[:, columns] for each in shared)

    others.send(partials.reduce_chunk(src))
    partials.log_softmax(src, totals=others.recv(), out=dst)

    others.send(partials.reduce_chunk(diff_dst=diff_dst))
    partials.log_softmax_backward(diff_dst, dst=dst, totals=others.recv(), out=diff_src)

    del src, dst, diff_dst, diff_src
    for each in shared:
        each.close()


def all_reduce(workers):
    """What MPI or NCCL would do: combine everybody's partials, and give everybody the totals."""
    totals = partials.combine(np.concatenate([each.recv() for each in workers], axis=-1))
    for each in workers:
        each.send(totals)
    return 2 * totals.nbytes * len(workers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    count = parser.parse_args().workers

    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=ROWS)
    shared = [SharedArray() for _ in range(4)]
    src, dst, diff_dst, diff_src = (each.array for each in shared)
    src[...] = 3 * rng.standard_normal(src.shape, np.float32)
    diff_dst[...] = 0
    diff_dst[np.arange(ROWS), labels] = -1 / ROWS  # of the mean cross-entropy

    context = multiprocessing.get_context("spawn")
    ends = np.linspace(0, CLASSES, count + 1).astype(int)
    names = [each.name for each in shared]
    workers = []
    for i in range(count):
        here, there = context.Pipe()
        context.Process(target=work, args=(slice(*ends[i : i + 2]), names, there)).start()
        there.close()  # so that the end of a process is an error here
        workers.append(here)
    sent = sum(all_reduce(workers) for _ in ("forward", "backward"))
    for process in multiprocessing.active_children():
        process.join()

    loss = -dst[np.arange(ROWS), labels].mean()
    # No absolute tolerance: half of the gradient's elements are below 1e-9.
    assert np.allclose(dst, fastlsm.log_softmax(src), rtol=1e-6, atol=0)
    assert np.allclose(diff_src, fastlsm.log_softmax_backward(diff_dst, dst=dst), rtol=1e-6, atol=0)
    classes = " or ".join(f"{n:,}" for n in sorted(set(np.diff(ends).tolist())))
    print(f"{count} processes of {classes} classes each; loss {loss:.4f}, as in one array")
    each_row = sent // (ROWS * count)
    print(f"{sent:,} bytes were sent, {each_row} for each row and process; the logits alone have {src.nbytes:,}")

    del src, dst, diff_dst, diff_src
    for each in shared:
        each.close()
        each.memory.unlink()


if __name__ == "__main__":
    main()
