"""The company table: filled from the shipped copy of the SEC's list; edits are kept."""

import json
from dataclasses import dataclass

from django.db import connection
from psycopg2.extras import execute_values

from llm_center.catalogue import read_companies
from llm_center.sql import load_sql


@dataclass(frozen=True, slots=True)
class CompanyImportResult:
    """Rows in the list, and the changes to the table."""

    read: int
    added: int
    changed: int
    delisted: int


def import_companies() -> CompanyImportResult:
    """Synchronize the company table with the shipped list.

    A company missing from the list is no longer listed, so its shares are no longer bought. Edited rows are kept.
    """
    rows = [
        (row.ticker, row.name[:200], row.exchange, f"{row.cik:010d}", row.is_listed, json.dumps([]), False)
        for row in read_companies()
    ]
    with connection.cursor() as cursor:
        outcome = execute_values(cursor.cursor, load_sql("upsert_companies"), rows, page_size=5000, fetch=True)
        cursor.execute(
            "UPDATE companies SET is_listed = false WHERE is_listed AND NOT edited AND NOT ticker = ANY (%s)",
            [[row[0] for row in rows]],
        )
        delisted = cursor.rowcount
    added = sum(is_new for (is_new,) in outcome)
    return CompanyImportResult(read=len(rows), added=added, changed=len(outcome) - added, delisted=delisted)
