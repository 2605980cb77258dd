"""Whether the vLLM installed here can run weights that come quantized, by its own source."""

import ast
import re

from cluster.inference.engine_arguments import argument_types
from cluster.inference.model_files import KNOWN
from cluster.inference.vllm_source import has_plugins, vllm_source
from cluster.texts import listed

_ON_CPU = re.compile(r"supported_quantization\b[^=\n]*= (\[[^\]]*\])")


def why_not_run(method: str, *, gpu: bool) -> str:
    """Return why weights of this quantization cannot be run; "" if they can, or no vLLM here says so.

    `method` is the quant_method of config.json, or "" for weights that are not quantized.
    """
    method = KNOWN["quantization"]["names"].get(method, method)
    known = argument_types().get("quantization")
    if not method or known is None or has_plugins():
        return ""
    methods = [one for one in known.choices if isinstance(one, str)]
    if method not in methods:
        return f"the vLLM installed here does not run {method!r}, only {listed(methods, 40)}"
    if gpu:
        return ""
    listed_there = _ON_CPU.search(vllm_source("platforms/cpu.py"))
    on_cpu = ast.literal_eval(listed_there[1]) if listed_there else []
    if (on_cpu and method not in on_cpu) or method in KNOWN["quantization"]["needs_gpu"]:
        return f"vLLM runs {method!r} on GPUs alone"
    return ""
