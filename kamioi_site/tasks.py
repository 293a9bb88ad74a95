"""Tasks that maintain the database."""

import logging

from celery import shared_task

from kamioi_site.db.partitions import apply_partitions
from kamioi_site.db.retention import delete_expired_rows as delete_rows

logger = logging.getLogger(__name__)


@shared_task(name="maintain_partitions")
def maintain_partitions() -> dict[str, list[str]]:
    """Create the partitions of the next months and empty the default partitions."""
    plan = apply_partitions()
    if plan:
        logger.info("partitions created: %s; stray rows moved: %s", plan.creations, plan.strays)
    return {table: [month.isoformat() for month in months] for table, months in plan.creations.items()}


# The first run deletes the rows of years; a killed one is continued by the next.
@shared_task(name="delete_expired_rows", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def delete_expired_rows() -> dict[str, int]:
    """Delete the rows that have expired."""
    deleted = delete_rows()
    if deleted:
        logger.info("expired rows deleted: %s", deleted)
    return deleted
