.PHONY: setup check test slow lint types imports bench sample

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
	python -m pytest

slow:             ## the long tests too
	python -m pytest -m ""

bench:            ## side by side with SpikingJelly; writes benchmarks/results.md
	python -m benchmarks

sample:           ## remake the bundled sample
	python sample_data/make.py
