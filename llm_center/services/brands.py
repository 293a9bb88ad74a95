"""The brand catalogue in the database: filled from the shipped data, edited in the admin, used by the matcher.

A process matches with the catalogue as it was when it last looked; `refresh_catalogue` looks again, and the LLM queue
does so before each run, so that an edit holds within minutes everywhere and needs no restart.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Count, Max
from django.utils import timezone
from psycopg2.extras import Json, execute_values

from llm_center import catalogue, matcher
from llm_center.models import CatalogueBrand
from transactions.models import Company

_UPSERT = """
    INSERT INTO catalogue_brands (name, aliases, owner, ticker, reason, category, source, edited, updated_at) VALUES %s
    ON CONFLICT (name) DO UPDATE SET
        aliases = excluded.aliases, owner = excluded.owner, ticker = excluded.ticker, reason = excluded.reason,
        category = excluded.category, source = excluded.source, updated_at = excluded.updated_at
    WHERE NOT catalogue_brands.edited
      AND (catalogue_brands.aliases, catalogue_brands.owner, catalogue_brands.ticker, catalogue_brands.reason,
           catalogue_brands.category)
          IS DISTINCT FROM (excluded.aliases, excluded.owner, excluded.ticker, excluded.reason, excluded.category)
    RETURNING xmax = 0 AS is_new
"""


@dataclass(frozen=True, slots=True)
class BrandImportResult:
    """Brands of the data, and what they did to the table. `refused` names brands whose ticker is not listed."""

    read: int
    added: int
    changed: int
    removed: int
    refused: list[str]


@transaction.atomic
def import_brands(*, brands: Iterable[catalogue.Brand] | None = None) -> BrandImportResult:
    """Bring the table up to a complete catalogue (the shipped one when none is given). Rows edited by hand stay.

    A brand whose ticker the company table does not list is refused.
    """
    listed = set(Company.objects.filter(is_listed=True).values_list("ticker", flat=True))
    now, rows, refused = timezone.now(), [], []
    for brand in brands if brands is not None else catalogue.shipped_brands():
        if brand.ticker and brand.ticker not in listed:
            refused.append(brand.name)
            continue
        rows.append(
            (
                brand.name,
                Json(list(brand.aliases)),
                brand.owner,
                brand.ticker,
                brand.reason if not brand.ticker else "",
                brand.category,
                brand.source,
                False,
                now,
            )
        )
    with connection.cursor() as cursor:
        outcome = execute_values(cursor.cursor, _UPSERT, rows, page_size=2000, fetch=True)
        cursor.execute(
            "DELETE FROM catalogue_brands WHERE NOT edited AND NOT name = ANY (%s)", [[row[0] for row in rows]]
        )
        removed = cursor.rowcount
    added = sum(is_new for (is_new,) in outcome)
    return BrandImportResult(len(rows) + len(refused), added, len(outcome) - added, removed, refused)


def validate_brand(brand: CatalogueBrand) -> None:
    """What the database cannot check of a brand.

    Raises:
        ValidationError: the ticker is not listed, or there is neither a ticker nor a reason.
    """
    brand.ticker = brand.ticker.strip().upper()
    if brand.ticker and not Company.objects.filter(ticker=brand.ticker, is_listed=True).exists():
        raise ValidationError({"ticker": f"{brand.ticker} is not a listed company of the company table."})
    if bool(brand.ticker) == bool(brand.reason):
        raise ValidationError({"reason": "A brand has a ticker, or a reason why it has none."})
    if not isinstance(brand.aliases, list) or not all(isinstance(alias, str) for alias in brand.aliases):
        raise ValidationError({"aliases": 'Spellings are a list of texts: ["WHOLEFDS", "WFM"].'})


_seen: tuple[int, datetime | None] | None = None


def refresh_catalogue() -> bool:
    """Match with the database's catalogue from now on, if it changed since this process last looked.

    Where the table is empty the shipped catalogue stays. Returns whether anything changed.
    """
    global _seen  # noqa: PLW0603  # what this process looked at last
    now = CatalogueBrand.objects.aggregate(count=Count("pk"), newest=Max("updated_at"))
    state = (now["count"], now["newest"])
    if state == _seen or not now["count"]:
        return False
    rows = [
        catalogue.Brand(row.name, tuple(row.aliases), row.owner, row.ticker, row.reason, row.category, row.source)
        for row in CatalogueBrand.objects.order_by("name")
    ]
    today = datetime.now(UTC).date()
    catalogue.set_catalogue(
        rows,
        [
            catalogue.Company(company.ticker, company.name, company.exchange, int(company.cik or 0), today)
            for company in Company.objects.filter(ticker__in={row.ticker for row in rows if row.ticker})
        ],
    )
    matcher.rebuild()
    _seen = state
    return True
