# `make help` lists the targets. The first of them makes .venv and installs the project into it.
PYTHON ?= python3
BIN := .venv/bin
RUN := .venv/installed#       .venv holds what a run needs,
TEST := .venv/installed-test# and what the tests and linters need
RAY := .venv-ray/installed#       Ray and the old cloudpickle that its launcher pins, upon .venv
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: help train test test-fast test-ray lint format typecheck

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: $(RUN) ## train: ARGS="model=ffn epochs=3" (default: model=cnn)
	$(BIN)/python -m dermaexp $(or $(ARGS),model=cnn)

test: $(TEST) ## run every test; pytest's options in ARGS
	$(PYTEST) $(ARGS)

test-fast: $(TEST) ## run the tests without a marker, in less than a minute
	$(PYTEST) -m "not (slow or browser or distributed or real_data)" $(ARGS)

test-ray: $(RAY) ## run the test of Ray, in an environment of its own
	.venv-ray/bin/python -m pytest tests/launch/test_launchers.py -k ray $(ARGS)

lint: $(TEST) ## check style, types, imports and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/mypy

format: $(TEST) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(TEST) ## check types with mypy
	$(BIN)/mypy

$(RUN): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dermaexp needs Python >= 3.11; this is " + sys.version.split()[0] + ": give another with make PYTHON=python3.12")'
	@echo "installing dermaexp into .venv: the first time takes minutes"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(TEST): $(RUN)
	@echo "installing what tests and linters need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(RAY): $(TEST)
	@echo "installing Ray into .venv-ray, which sees the packages of .venv"
	@$(BIN)/python -m venv .venv-ray
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		"$$(.venv-ray/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	@.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[ray]'
	@touch $@
