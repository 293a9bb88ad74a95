"""The SQL of hot paths and of statements longer than a few lines, one file each; its first lines say what it does."""

from functools import cache
from pathlib import Path


@cache
def load_sql(name: str) -> str:
    """Return the text of `<name>.sql` in this package."""
    return (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8")
