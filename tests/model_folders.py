"""Weights small enough to write in a test: a safetensors file as it must be, with one tensor."""

from __future__ import annotations

import json


def weights(text: bytes = b"weights") -> bytes:
    """A whole file of safetensors whose tensor holds the text."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(text)], "data_offsets": [0, len(text)]}}).encode()
    return len(header).to_bytes(8, "little") + header + text
