# Every target sets up what it needs in .venv: nothing has to be installed by hand but Python, g++, make and perl.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all fuzz kills lint wheel site tutorials clean

demo: $(VENV)/installed
	$(BIN)/lutra run recipes/demo.toml --out runs/demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto -m "not slow and not lint"

test-all: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto

# Minutes: mutants of every kind of file, every field left out once, and commands killed at random moments. FUZZ and KILLS are options of the scripts.
fuzz: $(VENV)/installed-dev
	$(BIN)/python tests/fuzz/fuzz.py $(FUZZ)
	$(BIN)/python tests/fuzz/optional_fields.py

kills: $(VENV)/installed-dev
	$(BIN)/python tests/fuzz/kills.py $(KILLS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(find src -name "*.cpp" -o -name "*.h")
	$(BIN)/python -m pytest -n auto -m lint tests/hardware tests/accelerators

# With the kernels compiled for every instruction set; an old build folder would bring files that are gone.
wheel: $(VENV)/installed-dev
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# The documentation site in build/site, without network; a link that leads nowhere is an error.
site: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# Minutes of compiling and simulating; what stands below the cells must be what they print.
tutorials: $(VENV)/installed-docs
	$(BIN)/python -m pytest -n auto tests/test_tutorials.py tests/test_examples.py

clean:
	rm -rf $(VENV) build dist src/*.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[dev]"
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: $(VENV)/installed-dev
	$(INSTALL) -e ".[docs]"
	touch $@
