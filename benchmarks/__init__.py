"""One command each; results, dated and with hardware, in RESULTS.md."""
