"""Where questions are from: one file a task family. Knows nothing of models or prompts."""
