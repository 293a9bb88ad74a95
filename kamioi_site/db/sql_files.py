"""SQL statements in files, one per file, in the `sql` package of each app."""

from collections.abc import Callable
from functools import cache
from pathlib import Path


def sql_loader(package_file: str) -> Callable[[str], str]:
    """Return a function that reads `<name>.sql` beside this file once per process."""
    folder = Path(package_file).parent

    @cache
    def load_sql(name: str) -> str:
        return (folder / f"{name}.sql").read_text(encoding="utf-8")

    return load_sql
