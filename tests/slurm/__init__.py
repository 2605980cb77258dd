"""The launcher on a real Slurm."""
