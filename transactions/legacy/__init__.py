"""The way over from the legacy SQLite file: read it (`source`), judge it (`rules`), carry it (`copy`), prove it (`validate`).

`docs/migration.md` is the runbook; `manage.py migrate_from_sqlite` the only door. Nothing here writes to the source.
"""
