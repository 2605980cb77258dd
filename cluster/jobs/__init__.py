"""What every command shares: a job is items, a coroutine and a run directory. Knows nothing about questions."""
