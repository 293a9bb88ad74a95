"""Helpers of the statement tests."""

import io
from datetime import date
from pathlib import Path

from kamioi_site.imports.rows import RowError
from transactions.statements.reader import parse_statement
from transactions.statements.values import StatementRow

FILES = Path(__file__).parents[2] / "data" / "statements"
TODAY = date(2025, 2, 10)


def read(text: str | bytes, **answers: str) -> list[StatementRow | RowError]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(parse_statement(io.BytesIO(data), today=TODAY, answers=answers))


def read_file(name: str) -> list[StatementRow | RowError]:
    with (FILES / name).open("rb") as file:
        return list(parse_statement(file, filename=name, today=TODAY))


def rows(items):
    return [row for row in items if isinstance(row, StatementRow)]


def errors(items):
    return [row for row in items if isinstance(row, RowError)]


def amounts(text: str) -> list[str]:
    return [str(row.amount) for row in rows(read(text))]
