"""RAW_DATA: its schema, its reader, its counts, its card."""
