# Everything runs in .venv, made once by `make setup` from locked versions.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test docs lock clean

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "speechvq needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/speechvq demo --out demo

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --durations=5 --cov

# By uv (pip install uv). Locked versions stay, where pyproject.toml allows them; `make lock UPGRADE=--upgrade` takes the newest.
lock:
	uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements.lock

docs: setup
	$(BIN)/mkdocs build --strict
	@echo site/index.html

clean:
	rm -rf .venv demo site
