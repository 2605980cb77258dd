#!/usr/bin/env bash
# A driver ships its own version of a package to the workers by `runtime_env={"py_modules": [...]}`, as Ray's guide does
# for code under development. Another version of the package lies in the folder where the driver was started.
# Guess: workers import what was shipped to them.
# Seen (ray 2.60.0, Python 3.11): they import the one in the driver's working folder, which Ray puts before the shipped
# modules on a worker's sys.path, while the driver itself, whose script lies elsewhere, imports the shipped one. On a
# node that has another clone at that path the workers run that clone's code. Nothing is said.
# Exits with 1 when this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'ray==2.60.0'
mkdir -p shipped/thing folder/thing
echo 'VERSION = "shipped"' >shipped/thing/__init__.py
echo 'VERSION = "of the folder"' >folder/thing/__init__.py
cat >driver.py <<'PY'
import sys

import ray

sys.path.insert(0, f"{sys.argv[1]}/shipped")
import thing

ray.init(num_cpus=1, include_dashboard=False, runtime_env={"py_modules": [f"{sys.argv[1]}/shipped/thing"]})


@ray.remote
def version():
    import thing

    return thing.VERSION


there = ray.get(version.remote())
print(f"driver: {thing.VERSION}; worker: {there}")
sys.exit((thing.VERSION, there) != ("shipped", "of the folder"))
PY
cd folder
RAY_USAGE_STATS_ENABLED=0 ../env/bin/python ../driver.py "$work" 2>/dev/null
