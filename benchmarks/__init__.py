"""Measurements: `python -m benchmarks.<name>` prints its figures, the last line one JSON object."""
