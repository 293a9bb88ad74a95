"""Tasks that maintain the database."""

import logging

from celery import shared_task

from kamioi_site.db.partitions import apply_partitions

logger = logging.getLogger(__name__)


@shared_task(name="maintain_partitions")
def maintain_partitions() -> dict[str, list[str]]:
    """Create the partitions of the next months and empty the default partitions."""
    plan = apply_partitions()
    if plan:
        logger.info("partitions created: %s; stray rows moved: %s", plan.creations, plan.strays)
    return {table: [month.isoformat() for month in months] for table, months in plan.creations.items()}
