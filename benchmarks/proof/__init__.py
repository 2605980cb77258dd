"""Whether the data teaches what it should, at the size of the built-in model: `python -m benchmarks.proof`."""
