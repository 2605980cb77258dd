"""Where questions come from, one file per family of tasks. Knows nothing about models or prompts."""
