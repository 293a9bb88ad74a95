"""The company table in the database: filled from the shipped copy of the SEC's list, edits kept."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection
from psycopg2.extras import execute_values

from llm_center.catalogue import Company, read_companies

_UPSERT = """
    INSERT INTO companies (ticker, name, exchange, cik, is_listed, aliases, edited) VALUES %s
    ON CONFLICT (ticker) DO UPDATE SET
        name = excluded.name, exchange = excluded.exchange, cik = excluded.cik, is_listed = excluded.is_listed
    WHERE NOT companies.edited
      AND (companies.name, companies.exchange, companies.cik, companies.is_listed)
          IS DISTINCT FROM (excluded.name, excluded.exchange, excluded.cik, excluded.is_listed)
    RETURNING xmax = 0 AS is_new
"""


@dataclass(frozen=True, slots=True)
class CompanyImportResult:
    """Rows of the list, and what they did to the table."""

    read: int
    added: int
    changed: int
    delisted: int


def import_companies(*, companies: Iterable[Company] | None = None) -> CompanyImportResult:
    """Bring the company table up to a complete list (the shipped one when none is given).

    A company that the list lacks is no longer listed, so nothing more is bought of it. Rows edited by hand stay.
    """
    rows = [
        (row.ticker, row.name[:200], row.exchange, f"{row.cik:010d}", row.is_listed, json.dumps([]), False)
        for row in (companies if companies is not None else read_companies())
    ]
    with connection.cursor() as cursor:
        outcome = execute_values(cursor.cursor, _UPSERT, rows, page_size=5000, fetch=True)
        cursor.execute(
            "UPDATE companies SET is_listed = false WHERE is_listed AND NOT edited AND NOT ticker = ANY (%s)",
            [[row[0] for row in rows]],
        )
        delisted = cursor.rowcount
    added = sum(is_new for (is_new,) in outcome)
    return CompanyImportResult(read=len(rows), added=added, changed=len(outcome) - added, delisted=delisted)
