"""What `python -m benchmarks` does with its options."""

import json
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from benchmarks import bus, cases, hunt_report, machine, memory, report, rivals, runs
from benchmarks.stubborn import stubborn

LEFT_OUT_OF_QUICK = {"torch.compile": "compiling takes it longer than --quick has"}
_WIDTH = 160  # where there is no terminal to ask

console = Console() if Console().is_terminal else Console(width=_WIDTH)


def run(options):
    if options.from_json:
        show(runs.load(options.from_json), options)
        return
    if options.list:
        for cell in cases.select(options.only, options.quick, mixed=True):
            console.print(cell.name + ("  (--beside alone)" if cell.dtype in cases.MIXED else ""), highlight=False)
        return
    if options.scaling or options.loaded or options.linear:
        _alone(options)
        return
    if options.loop:
        _loop(options)
        return
    if options.beside:
        _beside(options)
        return
    if options.dask:
        _dask(options)
        return
    if options.accuracy:
        _accuracy(options)
        return
    if options.hunt:
        show(_hunt(options), options)
        return
    show(_race(options), options)


def show(results, options):
    if "hunted" in results:
        hunt_report.show(results, console, in_detail=bool(options.problem))
    else:
        _show_race(results, options)
    if options.picture:
        from benchmarks import bars

        bars.draw(results, options.picture)
        console.print(f"picture: {options.picture}")


def _show_race(results, options):
    report.show(results, console, options.all)
    if options.markdown:
        from benchmarks import markdown

        for dtype in cases.DTYPES:
            if chosen := [cell for cell in results["cells"] if cell["dtype"] == dtype]:
                console.print(f"\n{dtype}\n\n{markdown.table(chosen)}\n\n{markdown.words(chosen)}", soft_wrap=True)
    if options.dots:
        from benchmarks import dots

        dots.draw(results, options.dots)
        console.print(f"picture: {options.dots}")


def _alone(options):
    from benchmarks import alone

    with _progress() as progress:
        mode = alone.scaling if options.scaling else alone.loaded if options.loaded else alone.linear
        table = mode(options, progress)
    console.print(table)


def _loop(options):
    from benchmarks import loop

    _warn_unless_quiet()
    table, missing = loop.compare(options, _progress())
    console.print(table)
    report.show_missing(missing, console)


def _beside(options):
    from benchmarks import beside, comparison

    _warn_unless_quiet()
    comparison.show(beside.compare(options, console, _progress()), console)


def _dask(options):
    from benchmarks import chunks

    _warn_unless_quiet()
    for table in chunks.measure(options, _progress()):
        console.print(table)


def _accuracy(options):
    from benchmarks import accuracy

    table, missing = accuracy.compare(options, _progress())
    console.print(table)
    report.show_missing(missing, console)


def _hunt(options):
    from benchmarks import hunt

    _warn_unless_quiet()
    return hunt.hunt(options, _progress())


def _race(options):
    from benchmarks.measure import measure

    cells = cases.select(options.only, options.quick)
    if not cells:
        raise SystemExit(f"no such cell: {' '.join(options.only)}; see --list")
    contenders, missing = rivals.load(options.rivals, LEFT_OUT_OF_QUICK if options.quick else {})
    if options.memory and not memory.is_available():
        missing["memory"] = "peak memory is read from Linux's /proc"
        options.memory = False
    _warn_unless_quiet()
    watch = machine.Watch()
    results = {"machine": machine.describe(), "options": vars(options), "missing": missing, "cells": []}
    with threadpool_limits(options.threads), stubborn(), _progress() as progress:
        evict = bus.evictor(options.threads) if options.cold else None
        task = progress.add_task("", total=len(cells))
        for cell in cells:
            progress.update(task, description=cell.name)
            results["cells"].append(measure(cell, contenders, options, evict))
            results["others"] = watch.others()
            progress.advance(task)
            if options.json:  # each time: a rival that crashes takes the process with it
                Path(options.json).write_text(json.dumps(results, indent=1))
    return results


def _warn_unless_quiet():
    """Listen for a moment before anything starts."""
    watch = machine.Watch()
    time.sleep(0.5)
    others = watch.others()
    if not machine.is_quiet(others):
        console.print(f"[yellow]The machine is not quiet: {others:.0%} of its time goes to others.[/]")


def _progress():
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
