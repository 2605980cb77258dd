#!/usr/bin/env bash
# What only a GPU can tell, in one run of at most ten minutes on a machine with one NVIDIA GPU: what seeds cost, both
# of vLLM's model runners, CUDA graphs, cold and warm starts, and the whole job beside vLLM's own LLM.generate.
#
#   bash benchmarks/gpu.sh [--wheels FOLDER | --here] [--out FOLDER] [--budget SECONDS] [--stand_in]
#
#   --wheels FOLDER   install these wheels, all of them and nothing else, beside what python3 has; asks no index
#   --here            install nothing: python3 has all that is needed
#   otherwise         make .venv-gpu once, from pip's index
#   --out FOLDER      where gpu.json, gpu.md and gpu.log go (build/gpu-<time>)
#   --budget SECONDS  for all of it, installation included (600)
#   --stand_in        the same steps on the CPU, with the built-in model; so it is without a GPU anyway
#
# PYTHON names another Python than the newest found; it must be 3.11 or newer. Besides the project's own requirements
# dashscope is wanted (pip download --no-deps dashscope), which brings Qwen's vocabulary; without it the built-in
# model's is padded. Cut off at any moment, the files in FOLDER hold what was measured until then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wheels='' here='' out="build/gpu-$(date +%Y%m%d-%H%M%S)" budget=600 more=()
while (($#)); do
  case $1 in
    --wheels) wheels=${2:?--wheels wants a folder} && shift ;;
    --here) here=yes ;;
    --out) out=${2:?--out wants a folder} && shift ;;
    --budget) budget=${2:?--budget wants seconds} && shift ;;
    --stand_in) more+=(--stand_in) ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 2 ;;
  esac
  shift
done
[[ -z $wheels || -d $wheels ]] || { echo "--wheels $wheels is no folder" && exit 2; }

python=${PYTHON:-}
for name in python3 python3.14 python3.13 python3.12 python3.11; do
  [[ -n $python ]] && break
  "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$name
done
[[ -n $python ]] || { echo "Python 3.11 or newer is needed: PYTHON=/path/to/python3" && exit 2; }

if [[ -n $wheels ]]; then
  # Not into a venv: python3 may be one itself, whose packages another would not see.
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
elif [[ -z $here ]]; then
  [[ -x .venv-gpu/bin/python ]] || "$python" -m venv .venv-gpu
  python=.venv-gpu/bin/python
  extra=gpu
  nvidia-smi -L >/dev/null 2>&1 || extra=cpu
  "$python" -m pip install --quiet --no-compile --editable ".[$extra]"
  "$python" -m pip install --quiet --no-compile --no-deps dashscope
fi

"$python" -m benchmarks.gpu --out "$out" --budget $((budget - SECONDS)) "${more[@]}"
