# Two commands do everything on a fresh machine with Python 3.11+ and make:
#   make demo     the main job, start to finish
#   make test     lint and tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all lint format types coverage docs notebooks package results bench clean

# byte code is left to be made of what is used: making all of it takes as long as all else together
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("darklens needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.11 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[test]'
	touch $@

demo: $(STAMP)
	$(BIN)/darklens demo --out runs/demo

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

# one process a core, one thread each: two threads in two processes would get in each other's way
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-all: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m ''

format: $(STAMP)
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

types: $(STAMP)
	$(BIN)/mypy

coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --cov=darklens --cov-report=term:skip-covered --cov-report=html:build/coverage

# build/site/index.html, to be read without a server; a warning, such as a link that leads nowhere, is an error
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# executes them and keeps what they print and draw
notebooks: $(STAMP)
	$(BIN)/python -m docs.theme.notebooks

# wheel, sdist and bill of materials; the date of the last commit makes two builds the same to the byte
package: $(STAMP)
	$(BIN)/python -m benchmarks.sbom --check
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 1700000000) $(BIN)/python -m build --outdir dist
	$(BIN)/python -m benchmarks.sbom --out dist/sbom.json

results: $(STAMP)
	$(BIN)/python -m benchmarks.results

bench: $(STAMP)
	$(BIN)/python -m benchmarks.render
	$(BIN)/python -m benchmarks.fit
	$(BIN)/python -m benchmarks.common_test_statistics

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
