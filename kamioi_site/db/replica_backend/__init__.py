"""The engine of the alias `replica`: the primary's engine, whose statements fall back on the primary."""
