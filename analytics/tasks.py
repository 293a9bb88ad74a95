"""The tasks of analytics; each only wakes a service."""

import logging

from celery import shared_task

from analytics.services.rollups import rollups_refresh

logger = logging.getLogger(__name__)


# The first run after a restore counts every row; it goes on where a killed one stood.
@shared_task(name="calculate_analytics", time_limit=3600, soft_time_limit=3540)
def calculate_analytics(recheck: int = 0) -> dict[str, int | float]:
    """Bring the figures up to date; with `recheck`, count anew so many partitions that were not looked at for longest."""
    done = rollups_refresh(recheck=recheck)
    if done.recounted:
        logger.info("counted anew: %s; %d figures changed", ", ".join(done.recounted), done.corrected)
    logger.info("analytics: %d changes taken up in %.1f s", done.deltas, done.seconds)
    return {"deltas": done.deltas, "recounted": len(done.recounted), "seconds": round(done.seconds, 3)}
