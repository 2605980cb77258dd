"""The built-in model: small enough to ship, real enough to show the whole method without a GPU.

`model/` holds the weights, tokenizer and card. In examples/builtin_model, `curriculum` writes its training data,
`train` trains it, and `measure` evaluates it on unseen questions and fills in the card.
"""

from pathlib import Path

from generation.tasks.countdown import Ranges

MODEL = Path(__file__).parent / "model"
NAME = "skillfactory-tiny-3m"
RANGES = Ranges(inputs=(1, 10), targets=(10, 50))  # the numbers it can do arithmetic with; far smaller than the paper's
EVALUATION_SEED = 20_261_121  # seed of the unseen questions that its card reports on; they are excluded from training
EVALUATION_QUESTIONS = 500
