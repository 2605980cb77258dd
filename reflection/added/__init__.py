"""Adding reflections to an existing RAW_DATA, for `python -m reflection.run`."""
