"""Runs in a trainer's environment, by `assembly.trainers`, and imports nothing of ours; one module for each trainer."""
