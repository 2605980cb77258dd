"""The real `vllm serve` on this machine's CPU, with the built-in model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generation.builtin import MODEL, NAME
from generation.placement import cpu_environment

_END_S = 30


@contextmanager
def vllm_serve(folder: Path, context: int, *flags: str) -> Iterator[str]:
    """Start a server that logs to the folder, and yield its URL, at which nobody may listen yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL), "--port", str(port)]
    command += ["--served-model-name", NAME, "--host", "127.0.0.1", "--max-model-len", str(context), *flags]
    command += ["--dtype", "float32", "--enforce-eager", "--max-num-seqs", "32", "--max-num-batched-tokens", "4096"]
    command += ["--no-enable-chunked-prefill", "--kv-cache-memory-bytes", str(1 << 28)]
    environment = os.environ | cpu_environment(1) | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with (folder / "serve.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
