# make demo   the whole path once, from speech to verified firmware, in demo/
# make test   lint and all tests
# Both set up everything they need: a virtual environment in .venv, compilers and emulators.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test compilers lint format setup clean

demo: setup
	$(BIN)/serq-mcu demo --out $(DEMO)

test: setup lint compilers
	$(BIN)/pytest

compilers:
	@if ! command -v clang >/dev/null || ! command -v g++ >/dev/null || ! command -v cmake >/dev/null; then \
	    if [ "$$(id -u)" = 0 ]; then DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends clang g++ cmake >/dev/null; \
	    else echo 'the tests need two more compilers and CMake: sudo apt-get install clang g++ cmake' >&2; exit 1; fi; fi

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'firmware/*.c' 'firmware/*.h' 'firmware/*.cpp')

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files 'firmware/*.c' 'firmware/*.h' 'firmware/*.cpp')

setup: $(VENV)/.installed
	$(BIN)/serq-mcu toolchain setup

$(VENV)/.installed: pyproject.toml
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    if [ "$$(id -u)" = 0 ]; then apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy python3 python3-venv; \
	    else echo 'Python 3.10 or newer with venv is needed: sudo apt-get install python3 python3-venv' >&2; exit 1; fi; fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train,build,benchmark,cluster,demo,dev]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache
