"""SQL of the LLM Center, one statement per file."""

from functools import cache
from pathlib import Path


@cache
def load_sql(name: str) -> str:
    return (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8")
