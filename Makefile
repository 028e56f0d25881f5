# Two commands for a newcomer: `make demo` and `make test`. Each makes .venv where it is missing.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Two cores are shared well by two test processes of one thread each.
TWICE := -n 2 --dist loadfile

.PHONY: help venv demo test check lint types format clean compiler
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

venv: ## Make or repair .venv (about two minutes where packages are near)
	@PYTHON="$(PYTHON)" ./.ci/venv

demo: venv ## Fine-tune, evaluate, publish to a private hub, load and predict
	@$(BIN)/fin-qlora demo

test: venv ## The quick tests: unit, hub, one end to end
	$(PYTEST) $(TWICE) tests/unit tests/hub
	$(PYTEST) tests/e2e -m smoke

check: venv compiler lint types ## Everything, as continuous integration runs it
	$(PYTEST) $(TWICE) tests --ignore tests/distributed --ignore tests/e2e
	$(PYTEST) tests/distributed tests/e2e

lint: venv ## Formatting and lint, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: venv ## The strict type checker
	$(BIN)/mypy

format: venv ## Format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

compiler:
	@command -v "$${CXX:-c++}" >/dev/null 2>&1 || { echo "make check: DeepSpeed needs a C++ compiler and there is none. Install one (Debian, Ubuntu: the package g++)." >&2; exit 4; }

clean: ## Remove what was built and cached, but not .venv
	rm -rf .cache .demo .tox build dist hub/dist .ruff_cache .mypy_cache .pytest_cache
	find src hub tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
