"""The brand catalogue: filled from the shipped data, edited in the admin, used by the matcher.

Each process matches with its own copy of the catalogue. `refresh_catalogue` reloads it after a change;
`services.matching` calls it first, so an edit takes effect everywhere without a restart.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Count, Max
from django.utils import timezone
from psycopg2.extras import Json, execute_values

from llm_center import catalogue, matcher
from llm_center.models import CatalogueBrand
from llm_center.sql import load_sql
from transactions.models import Company


@dataclass(frozen=True, slots=True)
class BrandImportResult:
    """Brands in the data, and the changes to the table. `refused` names brands whose ticker is not listed."""

    read: int
    added: int
    changed: int
    removed: int
    refused: list[str]


@transaction.atomic
def import_brands() -> BrandImportResult:
    """Synchronize the table with the shipped catalogue; edited rows are kept.

    A brand whose ticker is not listed in the company table is refused.
    """
    listed = set(Company.objects.filter(is_listed=True).values_list("ticker", flat=True))
    now, rows, refused = timezone.now(), [], []
    for brand in catalogue.shipped_brands():
        if brand.ticker and brand.ticker not in listed:
            refused.append(brand.name)
            continue
        aliases, reason = Json(list(brand.aliases)), "" if brand.ticker else brand.reason
        owner = (brand.name, aliases, brand.owner, brand.ticker, reason)
        rows.append((*owner, brand.category, brand.source, brand.as_of, False, now))
    with connection.cursor() as cursor:
        outcome = execute_values(cursor.cursor, load_sql("upsert_brands"), rows, page_size=2000, fetch=True)
        cursor.execute(
            "DELETE FROM catalogue_brands WHERE NOT edited AND NOT name = ANY (%s)", [[row[0] for row in rows]]
        )
        removed = cursor.rowcount
    added = sum(is_new for (is_new,) in outcome)
    return BrandImportResult(len(rows) + len(refused), added, len(outcome) - added, removed, refused)


def validate_brand(brand: CatalogueBrand) -> None:
    """Check what the database cannot check, and normalize the ticker.

    Raises:
        ValidationError: the ticker is not listed, or there is neither a ticker nor a reason.
    """
    brand.ticker = brand.ticker.strip().upper()
    if brand.ticker and not Company.objects.filter(ticker=brand.ticker, is_listed=True).exists():
        raise ValidationError({"ticker": f"{brand.ticker} is not a listed company of the company table."})
    if bool(brand.ticker) == bool(brand.reason):
        raise ValidationError({"reason": "A brand has either a ticker or a reason why it has none."})
    if not isinstance(brand.aliases, list) or not all(isinstance(alias, str) for alias in brand.aliases):
        raise ValidationError({"aliases": 'Enter spellings as a list of texts: ["WHOLEFDS", "WFM"].'})


# Row count and newest change of the table when this process last loaded it.
_loaded: tuple[int, datetime | None] | None = None


def refresh_catalogue() -> bool:
    """Reload the catalogue if the table has changed; return whether it had.

    While the table is empty, the shipped catalogue is used.
    """
    global _loaded  # noqa: PLW0603  # state of the process
    table = CatalogueBrand.objects.aggregate(count=Count("pk"), newest=Max("updated_at"))
    state = (table["count"], table["newest"])
    if state == _loaded or not table["count"]:
        return False
    rows = [
        catalogue.Brand(
            row.name, tuple(row.aliases), row.owner, row.ticker, row.reason, row.category, row.source, row.as_of
        )
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
    matcher.clear_index()
    _loaded = state
    return True
