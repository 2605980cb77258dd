"""A worker that compares mathematics by math-verify. Run as a module by `generation.grading.workers`."""

from __future__ import annotations

from generation.grading.math_equality import compare, warm_up
from generation.grading.worker_loop import serve

if __name__ == "__main__":
    serve(lambda request: compare(request["gold"], request["answer"]), warm_up)
