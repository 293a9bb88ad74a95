"""Programs that a benchmark stands beside."""
