"""How text is produced, where work runs, where rows are kept. Knows nothing of questions."""
