"""What `python -m generation` says: which commands there are."""

from __future__ import annotations

from cluster.commands import no_command

if __name__ == "__main__":
    no_command("generation")
