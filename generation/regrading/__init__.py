"""Stored responses graded again, without a model: RAW_DATA and EVAL sets, ours and published."""
