"""Where questions come from: a file for each family of tasks. Knows nothing of models or prompts."""
