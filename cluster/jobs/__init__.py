"""A job is items, a coroutine and a folder: what every command shares. Knows no questions."""
