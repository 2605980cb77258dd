"""More reflections for a RAW_DATA that is there already; `python -m reflection.run` does it."""
