"""Longer SQL statements, one file each; the first lines of a file say what it does."""

from functools import cache
from pathlib import Path


@cache
def load_sql(name: str) -> str:
    """Return the text of `<name>.sql` in this folder."""
    return (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8")
