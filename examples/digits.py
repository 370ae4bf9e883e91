"""Trains a classifier of real handwritten digits, with fastlsm's forward and backward, in three dtypes.

    python examples/digits.py [--steps 400] [--picture digits.png]

The data are the 1,797 digits of 8 x 8 pixels that come with scikit-learn. The network is one hidden layer; its
weights stay float32, as is usual in mixed precision, while the logits, the log-probabilities and their gradients are
float32, float16 or bfloat16. The time in fastlsm is set beside that of the formulas in plain NumPy on the same arrays.
"""

import argparse
import time
from pathlib import Path

import matplotlib as mpl
import ml_dtypes
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastlsm

DTYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
HIDDEN = 64
LEARNING_RATE = 0.3
MOMENTUM = 0.9


def numpy_log_softmax(src):
    shifted = src - src.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def numpy_backward(diff_dst, dst):
    return diff_dst - np.exp(dst) * diff_dst.sum(-1, keepdims=True)


class Stopwatch:
    def __init__(self):
        self.seconds = 0.0

    def time(self, function, *args, **kwargs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        self.seconds += time.perf_counter() - start
        return result


def load():
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels / 16).astype(np.float32)
    return train_test_split(pixels, labels, test_size=0.25, random_state=0, stratify=labels)


def logits_of(weights, pixels, dtype):
    hidden = np.maximum(pixels @ weights[0] + weights[1], 0)
    return hidden, (hidden @ weights[2] + weights[3]).astype(dtype)


def train(pixels, labels, dtype, steps, advance):
    """The trained weights, the loss at each step, and the seconds in fastlsm and in plain NumPy."""
    rng = np.random.default_rng(0)
    weights = [
        rng.normal(0, np.sqrt(2 / 64), (64, HIDDEN)).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        rng.normal(0, np.sqrt(1 / HIDDEN), (HIDDEN, 10)).astype(np.float32),
        np.zeros(10, np.float32),
    ]
    velocity = [np.zeros_like(w) for w in weights]
    own, plain = Stopwatch(), Stopwatch()
    rows = np.arange(len(labels))
    # The gradient of the mean of -log p(label): -1 / batch at the label, 0 elsewhere.
    diff_dst = np.zeros((len(labels), 10), dtype)
    diff_dst[rows, labels] = -1 / len(labels)
    losses = []
    for _ in range(steps):
        hidden, logits = logits_of(weights, pixels, dtype)
        dst = own.time(fastlsm.log_softmax, logits)
        losses.append(-dst[rows, labels].astype(np.float64).mean())
        diff_logits = own.time(fastlsm.log_softmax_backward, diff_dst, dst=dst)
        plain.time(numpy_backward, diff_dst, plain.time(numpy_log_softmax, logits))

        diff_logits = diff_logits.astype(np.float32)
        diff_hidden = (diff_logits @ weights[2].T) * (hidden > 0)
        gradients = [pixels.T @ diff_hidden, diff_hidden.sum(0), hidden.T @ diff_logits, diff_logits.sum(0)]
        for w, v, gradient in zip(weights, velocity, gradients, strict=True):
            v *= MOMENTUM
            v -= LEARNING_RATE * gradient
            w += v
        advance()
    return weights, losses, own.seconds, plain.seconds


def draw(path, curves, pixels, labels, predictions):
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(9, 6), layout="constrained")
    top, bottom = figure.subfigures(2, height_ratios=(3, 2))
    axes = top.subplots()
    # The curves all but coincide: each is thinner than the one under it.
    for (name, losses), width in zip(curves.items(), (7, 4, 1.5), strict=True):
        axes.semilogy(np.arange(1, len(losses) + 1), losses, label=name, linewidth=width)
    axes.set(xlabel="step", ylabel="training loss")
    axes.legend()
    mistaken = np.flatnonzero(predictions != labels)[:6]
    shown = np.r_[mistaken, np.setdiff1d(np.arange(24), mistaken)][:18]
    for place, i in zip(bottom.subplots(2, 9).flat, shown, strict=True):
        right = predictions[i] == labels[i]
        place.imshow(pixels[i].reshape(8, 8), cmap="gray_r")
        place.set_title(f"{predictions[i]}" + ("" if right else f", is {labels[i]}"), color="black" if right else "red")
        place.axis("off")
    bottom.suptitle(f"test digits and what {next(reversed(curves))} takes them for, mistakes first")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="training steps for each dtype")
    parser.add_argument("--picture", type=Path, default=Path("digits.png"), help="the file for the picture")
    arguments = parser.parse_args()
    console = Console()
    train_pixels, test_pixels, train_labels, test_labels = load()
    table = Table("dtype", "loss", "test accuracy", "fastlsm", "plain NumPy", "ratio", title="Handwritten digits")
    curves, predictions = {}, None
    with Progress(console=console) as progress:
        for dtype in DTYPES:
            task = progress.add_task(f"training in {dtype}", total=arguments.steps)
            weights, curves[dtype.name], own, plain = train(
                train_pixels, train_labels, dtype, arguments.steps, lambda task=task: progress.advance(task)
            )
            predictions = logits_of(weights, test_pixels, dtype)[1].argmax(-1)
            accuracy = (predictions == test_labels).mean()
            table.add_row(
                dtype.name,
                f"{curves[dtype.name][-1]:.4f}",
                f"{accuracy:.1%}",
                f"{own:.3f} s",
                f"{plain:.3f} s",
                f"{plain / own:.1f}",
            )
    console.print(table)
    draw(arguments.picture, curves, test_pixels, test_labels, predictions)
    console.print(f"Loss curves and some digits: {arguments.picture.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    main()
