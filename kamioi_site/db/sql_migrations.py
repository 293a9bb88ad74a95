"""Migrations with their SQL in a file: the forward SQL, a line `-- reverse`, the reverse SQL."""

from pathlib import Path

from django.db.migrations.operations import RunSQL


class RunSQLFile(RunSQL):
    """Run the SQL file `migrations/sql/<name>` beside the migration that names it.

    Args:
        migration_file: `__file__` of the migration.
        name: file name in the folder `sql` next to it.
    """

    def __init__(self, migration_file: str, name: str) -> None:
        text = (Path(migration_file).parent / "sql" / name).read_text(encoding="utf-8")
        forward, marker, reverse = text.partition("\n-- reverse\n")
        if not marker:
            raise ValueError(f"{name} has no line '-- reverse'")
        # One string each: PostgreSQL runs a script of several statements, and psycopg2 only treats `%` as special
        # when parameters are passed.
        super().__init__([forward], [reverse])
