"""RAW_DATA: schema, reader, counts and dataset card."""
