"""From questions to RAW_DATA: prompt variants, samples, grades, reflections, rows."""
