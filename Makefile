# `make build` once, in a virtual environment; then any of the others.
.PHONY: build test parallel emulate lint bench example clean

build:  ## compile the kernels in place; again after a change to a .pyx or .h
	pip install --editable '.[test,lint,bench,examples]'

test:
	pytest
	pytest --doctest-modules --pyargs fastlsm

parallel:  ## each test in four threads at once
	pytest --parallel-threads=4

emulate:  ## hours: the numeric tests on an old x86-64 and on arm64, on Debian as root
	.ci/emulate old
	.ci/emulate arm64

lint:
	ruff check .
	ruff format --check .
	cython-lint fastlsm/*.pyx
	python -m mypy.stubtest fastlsm --ignore-missing-stub

bench:  ## long (113 of 264 cells took 17 minutes) beside all rivals (`pip install '.[rivals]'`); `python -m benchmarks --quick` takes two minutes
	python -m benchmarks --json benchmark.json --picture benchmark.png

example:
	python examples/digits.py

clean:
	rm -rf build dist *.egg-info fastlsm/*.so .pytest_cache .hypothesis .mypy_cache .ruff_cache digits.png benchmark.json benchmark.png
	find . -name __pycache__ -prune -exec rm -rf {} +
