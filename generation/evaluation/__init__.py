"""Evaluations: EVAL_DATA, its figures with intervals, comparisons, budget forcing."""
