"""Pages that we write, in a real browser."""
