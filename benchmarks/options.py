"""The command line. Nothing is imported here that reads the environment."""

import argparse
import os


def parse(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Times fastlsm beside its rivals and the memory bus, after checking every answer against float64.",
    )
    parser.add_argument("--quick", action="store_true", help="a representative subset, in under two minutes")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="cells by substring or glob, such as float32/dst/* or 1024x1000"
    )
    parser.add_argument("--rivals", nargs="+", metavar="NAME", help="rivals by substring, such as numba torch")
    parser.add_argument("--threads", type=_positive, default=min(2, os.cpu_count()), help="default: %(default)s")
    parser.add_argument(
        "--rounds", type=_positive, help="default: 15, with --quick 7, with --hunt 25, with --beside 50, with --loop 3"
    )
    parser.add_argument("--cold", action="store_true", help="evict the caches before every timed call")
    parser.add_argument("--avx2", action="store_true", help="keep fastlsm and every rival to AVX2")
    parser.add_argument(
        "--memory",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure each contender's peak extra memory",
    )
    parser.add_argument("--all", action="store_true", help="show every rival's ratio, not the strongest one's alone")
    parser.add_argument("--markdown", action="store_true", help="README's table of each dtype besides")
    parser.add_argument("--json", metavar="FILE", help="write all that was measured")
    parser.add_argument("--picture", metavar="FILE", help="write a PNG: the best library by kind of shape")
    parser.add_argument("--dots", metavar="FILE", help="write a PNG: every contender and the bus, cell by cell")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--list", action="store_true", help="print the cells' names")
    mode.add_argument(
        "--from-json",
        nargs="+",
        metavar="FILE",
        help="tables and pictures from earlier --json: of races the medians, of hunts the best; no timing",
    )
    mode.add_argument("--scaling", action="store_true", help="fastlsm alone: the threads' gain, in the caches")
    mode.add_argument("--loaded", action="store_true", help="fastlsm alone: beside busy processes")
    mode.add_argument("--loop", action="store_true", help="fastlsm in a loop with one other library's call")
    mode.add_argument("--linear", action="store_true", help="fastlsm alone: time per element, 1e5 to 1e9 elements")
    mode.add_argument(
        "--dask",
        action="store_true",
        help="fastlsm.dask beside the plain formula and one array; --only threads, processes",
    )
    mode.add_argument(
        "--accuracy", action="store_true", help="no timing: each contender's worst error, also where a model is sure"
    )
    mode.add_argument(
        "--hunt", action="store_true", help="random problems beside the libraries and beside their own neighbours"
    )
    mode.add_argument(
        "--beside",
        metavar="REV",
        help="fastlsm alone: beside that commit's, which is compiled, or that of a folder, which is compiled already",
    )
    hunt = parser.add_argument_group("--hunt")
    hunt.add_argument(
        "--problem", nargs="+", metavar="NAME", help="these, such as float32/dst/43x32236/axis0/2; with --beside, too"
    )
    hunt.add_argument("--seconds", type=_positive, default=120, help="default: %(default)s")
    hunt.add_argument("--count", type=_positive, help="of problems; default: as many as there is time for")
    hunt.add_argument("--seed", type=int, default=0, help="which problems; default: %(default)s")
    chosen = parser.parse_args(arguments)
    if chosen.problem and not (chosen.hunt or chosen.beside):
        parser.error("--problem goes with --hunt or --beside")
    chosen.rounds = chosen.rounds or _rounds(chosen)
    return chosen


def _rounds(chosen):
    if chosen.loop:
        return 3
    return 50 if chosen.beside else 25 if chosen.hunt else 7 if chosen.quick else 15


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
