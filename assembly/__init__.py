"""From RAW_DATA to training sets."""
