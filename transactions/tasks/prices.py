"""The task that refreshes stock prices."""

import logging

from celery import shared_task

from transactions.market.price_refresh import refresh_stock_prices

logger = logging.getLogger(__name__)


@shared_task(name="refresh_prices")
def refresh_prices() -> dict[str, int | str]:
    """Fetch quotes and release the transactions that waited for them."""
    result = refresh_stock_prices()
    if result.error:
        logger.error("prices: %s", result.error)
    for quote in result.rejected[:20]:
        logger.warning("quote of %s rejected: %s", quote.ticker or "?", quote.reason)
    return {
        "stored": result.stored,
        "refused": len(result.rejected),
        "released": result.released,
        "error": result.error,
    }
