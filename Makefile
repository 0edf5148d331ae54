# make demo   the whole path once, from speech to verified firmware, in demo/
# make check  lint, types and unit tests, in a minute
# make test   lint and all tests
# make coverage   all tests, with the lines and branches that they reach
# make docs   the documentation as a web site, in build/site; make reference writes its pages that come from the code
# All set up everything they need: a virtual environment in .venv, compilers and emulators.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
PYTEST := $(BIN)/pytest --numprocesses auto --dist worksteal
# waits for whoever holds the packages' lock
APT := apt-get -o DPkg::Lock::Timeout=600
# of ESPHome, which pins packages that ours may not have
ESPHOME := $(VENV)/esphome
FUZZER := libclang_rt.fuzzer-$(shell uname -m).a

.PHONY: demo check quick test compilers browser coverage docs reference lint format setup clean

demo: setup
	$(BIN)/serq-mcu demo --out $(DEMO)

check: lint quick # needs a C compiler, and neither emulators nor recordings

quick: $(VENV)/.installed
	$(PYTEST) -m 'not emulator and not train and not corpora and not slow' tests/unit

test: setup lint compilers browser $(ESPHOME)/.installed
	PATH="$$PATH:$(CURDIR)/$(ESPHOME)/program" $(PYTEST)

coverage: setup compilers browser # all tests once more, slower; fails below 95 % of the runtime's lines or 90 % of the package's
	rm -rf build/coverage
	$(BIN)/python -m tests.support.coverage_of_c shim build/coverage
	PATH="$(CURDIR)/build/coverage/bin:$$PATH" $(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/python -m tests.support.coverage_of_c report build/coverage
	$(BIN)/coverage report

docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(VENV)/.installed
	$(BIN)/python -m tools.docs_reference docs/reference

compilers:
	@if ! command -v clang >/dev/null || ! command -v g++ >/dev/null || ! command -v cmake >/dev/null || ! [ -e "$$(clang -print-file-name=$(FUZZER))" ]; then \
	    if [ "$$(id -u)" = 0 ]; then DEBIAN_FRONTEND=noninteractive $(APT) install -qy --no-install-recommends clang g++ cmake libclang-rt-dev >/dev/null; \
	    else echo 'the tests need compilers, CMake and a library: sudo apt-get install clang g++ cmake libclang-rt-dev' >&2; exit 1; fi; fi

browser: # pages are tested in Chromium, with what they take from npm
	@need=; for name in chromium chromium-browser google-chrome none; do if command -v $$name >/dev/null; then break; fi; done; \
	[ $$name != none ] || need=chromium; command -v npm >/dev/null || need="$$need npm"; \
	if [ -n "$$need" ]; then \
	    if [ "$$(id -u)" = 0 ]; then DEBIAN_FRONTEND=noninteractive $(APT) install -qy --no-install-recommends $$need >/dev/null; \
	    else false; fi || echo "tests of pages in a browser are skipped; they need: apt-get install $$need" >&2; fi

lint: $(VENV)/.installed build/lint/clean
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.lint_comprehensions
	$(BIN)/python -m tools.lint_words
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'firmware/*.c' 'firmware/*.h' 'firmware/*.cpp')

# the C is analysed again when it, or what generates it, has changed
build/lint/clean: $(VENV)/.installed $(shell git ls-files firmware templates serq_mcu tools/lint_c.py .clang-tidy .cppcheck-suppressions)
	$(BIN)/python -m tools.lint_c
	@touch $@

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files 'firmware/*.c' 'firmware/*.h' 'firmware/*.cpp')

setup: $(VENV)/.installed
	$(BIN)/serq-mcu toolchain setup

$(VENV)/.installed: pyproject.toml
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    if [ "$$(id -u)" = 0 ]; then $(APT) update -q && DEBIAN_FRONTEND=noninteractive $(APT) install -qy python3 python3-venv; \
	    else echo 'Python 3.10 or newer with venv is needed: sudo apt-get install python3 python3-venv' >&2; exit 1; fi; fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train,onnx,build,experiments,cluster,demo,docs,dev]'
	touch $@

$(ESPHOME)/.installed: Makefile $(VENV)/.installed # needs Python 3.11 or newer; without it the tests that run it are skipped
	$(PYTHON) -m venv $(ESPHOME)
	@if $(ESPHOME)/bin/pip install --quiet --disable-pip-version-check 'esphome==2026.6.5'; then \
	    mkdir -p $(ESPHOME)/program && ln -sf ../bin/esphome $(ESPHOME)/program/esphome && touch $@; \
	    else echo 'ESPHome could not be installed; its tests are skipped, or fail with CI=true' >&2; fi

clean:
	rm -rf $(VENV) $(DEMO) build dist .coverage* .mypy_cache .ruff_cache .pytest_cache
