"""The task that keeps the legacy file up to date between cut-over and `finish`."""

import logging
import time

from celery import shared_task

from kamioi_site.errors import KamioiError

logger = logging.getLogger(__name__)

SECONDS = 50


@shared_task(name="legacy_dual_write")
def legacy_dual_write() -> int:
    """Write to the legacy file what waits for it. The file being away is no error of ours: everything waits."""
    from transactions.legacy.sync.outbox import send_outbox  # noqa: PLC0415  # imports pyarrow

    total, deadline = 0, time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline and (sent := send_outbox()):
            total += sent
    except KamioiError as error:
        logger.warning("dual-write: %s", error)
    return total
