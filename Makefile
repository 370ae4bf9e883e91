# `make build` once, in a virtual environment; then any of the others.
.PHONY: build test parallel emulate sanitize fuzz lint docs bench compare example wheels clean

build:  ## compile the kernels in place; again after a change to a .pyx, .pxd, .hpp or .h
	pip install --editable '.[test,lint,bench,examples,dask]'

test:
	pytest
	pytest --doctest-modules --pyargs fastlsm

parallel:  ## each test in four threads at once
	pytest --parallel-threads=4

emulate:  ## hours: the numeric tests on an old x86-64 and on arm64, on Debian as root
	.ci/emulate old
	.ci/emulate arm64

SANITIZED = LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" PYTHONMALLOC=malloc PYTHONPATH=build/sanitize/lib \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:max_malloc_fill_size=4194304 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

sanitize:  ## the tests, or those in TESTS, and random problems, with gcc's AddressSanitizer and UndefinedBehaviorSanitizer
	FASTLSM_SANITIZE=address,undefined FASTLSM_LEVELS=$(or $(LEVELS),v3,baseline) \
		python setup.py --quiet build --build-lib build/sanitize/lib --build-temp build/sanitize/temp
	$(SANITIZED) pytest -p no:cacheprovider $(TESTS)
	cd build && $(subst build/sanitize,sanitize,$(SANITIZED)) python ../tests/fuzz.py --seconds $(or $(SECONDS),60)

fuzz:  ## random problems in guarded memory, for SECONDS; `tests/fuzz.py --guided` lets libFuzzer choose them
	cd tests && python fuzz.py --seconds $(or $(SECONDS),600)

lint:
	ruff check .
	ruff format --check .
	cython-lint fastlsm/*.pyx fastlsm/*.pxi fastlsm/kernels/*.pxd
	clang-format --dry-run -Werror fastlsm/include/*.h* fastlsm/include/vectors/*.hpp
	python -m mypy.stubtest fastlsm --ignore-missing-stub

docs:  ## the pages, in docs/_build/html, and all their examples; `pip install -e '.[docs,neighbours]'` first
	pytest tests/test_docs.py tests/test_with_neighbours.py
	sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs docs/_build/html

bench:  ## long (of its 312 cells 78 took 6 minutes) beside all rivals (`pip install '.[rivals]'`); `python -m benchmarks --quick` takes two minutes
	python -m benchmarks --json benchmark.json --picture benchmark.png

compare:  ## a quarter of an hour: what is built beside the commit REV, or beside the last one; OPTIONS=--quick for less
	python -m benchmarks --beside $(or $(REV),HEAD) $(OPTIONS)

example:
	python examples/digits.py

wheels:  ## hours: the sdist and a wheel for each Python into dist/, and the tests, or those in TESTS, on each wheel
	.ci/wheels $(TESTS)

clean:
	rm -rf build dist docs/_build *.egg-info fastlsm/*.so .pytest_cache .hypothesis .mypy_cache .ruff_cache digits.png benchmark.json benchmark.png fuzz-input
	find . -name __pycache__ -prune -exec rm -rf {} +
