"""What is asked of the model about its own answer. Knows texts, not tasks."""

from cluster.commands import need_environment

need_environment()
