"""What is asked of the model about its own answer. Knows texts, not tasks."""
