"""The built-in model: small enough to ship, real enough to show the whole method without a GPU.

`model/` holds the weights, tokenizer and card; `curriculum` writes what it is trained on; `train`
makes it; `measure` asks it fresh questions and writes the figures of its card.
"""

from pathlib import Path

from generation.tasks.countdown import Ranges

MODEL = Path(__file__).parent / "model"
NAME = "skillfactory-tiny-3m"
RANGES = Ranges(inputs=(1, 10), targets=(10, 50))
"""What it can do arithmetic in; far below the paper's ranges."""
EVALUATION_SEED = 20_261_121
"""Seed of the fresh questions behind the card's figures; training leaves them out."""
EVALUATION_QUESTIONS = 500
