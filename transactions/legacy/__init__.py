"""The migration from the legacy SQLite file; `README.md` describes the package, `docs/migration.md` is the runbook."""
