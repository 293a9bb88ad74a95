"""The task that fetches prices."""

import logging

from celery import shared_task

from transactions.market.price_refresh import refresh_stock_prices

logger = logging.getLogger(__name__)


@shared_task(name="refresh_prices")
def refresh_prices() -> dict[str, int | str]:
    """Fetch quotes and put the transactions that waited for them back to work."""
    done = refresh_stock_prices()
    if done.error:
        logger.error("prices: %s", done.error)
    for refused in done.refused[:20]:
        logger.warning("quote of %s refused: %s", refused.ticker or "?", refused.reason)
    return {"stored": done.stored, "refused": len(done.refused), "released": done.released, "error": done.error}
