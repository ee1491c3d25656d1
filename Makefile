.PHONY: setup check test slow lint types imports bench bench-scale bench-serve bench-kernels sample

setup:            ## install with everything the tests need
	python -m pip install -e ".[dev]"

check: lint types imports test  ## all that CI runs

lint:
	ruff check .
	ruff format --check .

types:
	mypy

imports:
	lint-imports

test:
	python -m pytest -n 2 --dist loadfile

slow:             ## the long tests too
	python -m pytest -n 2 --dist loadfile -m "not gpu"

bench:            ## side by side with SpikingJelly and tonic; writes benchmarks/results.md and README's table
	python -m benchmarks

bench-scale:      ## time and memory as data grow; adds to the same page
	python -m benchmarks.scale

bench-serve:      ## the cache service beside reading from disk, and under load
	python -m benchmarks.serve --out benchmarks/serve.md

bench-kernels:    ## the kernels alone, with pytest-benchmark
	python -m pytest benchmarks/test_kernels.py

sample:           ## remake the bundled sample
	python sample_data/make.py
