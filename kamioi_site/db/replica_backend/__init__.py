"""The database engine of the alias `replica`, which falls back to the primary."""
