"""The legacy SQLite file: opened, read as one snapshot, backed up, and its change log."""
