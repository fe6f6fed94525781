# Everything a person or a CI types. Needs Python >= 3.11, make and the package index.
# PIP_ARGS is passed to pip: a CPU build of torch, a mirror, a cache. For example
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

.PHONY: help demo setup test test-fast test-all lint type format golden bench check clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lilllm needs Python >= 3.11; name one: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing lilllm into $(VENV) (torch is most of it) ..."
	$(PIP) "torch>=2.9,<2.14"
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) -e '.[dev,eval,gguf,track]'
	@touch $@

# llama.cpp, which the tests of GGUF files compare with, is compiled: minutes, once. Its products with AMX
# end in an illegal instruction where a file holds q8_0.
LLAMA = -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
LLAMA += $(if $(shell grep -s amx_tile /proc/cpuinfo),-DGGML_NATIVE=OFF)
$(VENV)/.llama: $(VENV)/.dev
	@CMAKE_BUILD_PARALLEL_LEVEL=2 CMAKE_ARGS="$(LLAMA)" \
		$(PIP) -e '.[llama]' && touch $@ \
		|| echo "llama-cpp-python could not be built: its tests are skipped"

demo: $(VENV)/.installed  ## a talking model from nothing, offline, in minutes
	@$(BIN)/lilllm run configs/demo.yaml
	@echo; echo "== The base model continues a text: lilllm generate runs/demo/pretrain --prompt ..."
	@$(BIN)/lilllm generate runs/demo/pretrain --prompt "One sunny morning" --seed 1
	@echo; echo "== The chat model answers: lilllm generate runs/demo --chat --prompt ..."
	@$(BIN)/lilllm generate runs/demo --chat --seed 1 --prompt "Write a story with the words: garden, find, happy."
	@echo; echo "Talk to it: $(BIN)/lilllm chat        Everything it made: runs/demo/"

setup: $(VENV)/.dev  ## install everything that development needs

test: $(VENV)/.dev  ## all tests with reduced counts
	$(BIN)/python -m pytest -m "not slow and not gpu and not network" -q

test-fast: $(VENV)/.dev  ## the tests that take no training
	$(BIN)/python -m pytest -m "not slow and not gpu and not network and not long" -q -x

test-all: $(VENV)/.dev $(VENV)/.llama  ## full counts: kills, fuzzing, and make demo itself
	$(BIN)/python -m pytest -m "not gpu and not network" -q

lint: $(VENV)/.dev  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.dev  ## mypy --strict
	$(BIN)/mypy

format: $(VENV)/.dev  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: $(VENV)/.dev  ## rewrite the golden files; read the diff
	LILLLM_GOLDEN=1 $(BIN)/python -m pytest -q -k golden

bench: $(VENV)/.dev  ## two quick measurements, and how each of the others is called
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/stories.py
	@echo "The others take longer, or need data or peers; the first lines of each say what it measures:"
	@grep -hE '^ *(PEERS=.* )?python benchmarks/' benchmarks/*.py | sed 's/^ */    /'

check: lint type test  ## what CI runs

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
