"""The merchant directory and the review queue, derived from the copied rows in set-based statements; safe to repeat."""

from django.db import connection, transaction

from transactions.legacy import registry

# Merchants that only transactions name, and the totals that the review queue shows.
_UPDATE_WAITING = """
WITH waiting AS (
    SELECT merchant_key, min(merchant) AS name, min(category) AS category, count(*) AS count, sum(round_up) AS amount
    FROM transactions WHERE status = 'needs_review' AND merchant_key <> '' GROUP BY merchant_key
)
INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason, alternatives,
                       rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
SELECT merchant_key, name, NULL, '', category, 'proposed', 'ingest', '', '[]', '[]', count, amount, now(), now()
FROM waiting ORDER BY merchant_key
ON CONFLICT (merchant_key) DO UPDATE SET
    waiting_count = excluded.waiting_count, waiting_amount = excluded.waiting_amount
"""


def build_merchant_directory() -> dict[str, int]:
    """Derive merchants from the tables of the registered apps; returns numbers by what was done."""
    counts: dict[str, int] = {"merchants": 0, "approved": 0, "conflicts": 0}
    with transaction.atomic():
        for module in registry.directory_modules():
            counts |= module.build_directory()
        with connection.cursor() as cursor:
            cursor.execute(_UPDATE_WAITING)
    return counts
