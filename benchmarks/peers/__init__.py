"""The product beside what people would use instead; `python -m benchmarks.peers` (see `__main__`)."""
