"""The task that keeps the legacy file up to date between cut-over and `finish`."""

import logging
import time

from celery import shared_task

from kamioi_site.errors import KamioiError
from transactions.legacy.sync.outbox import send_outbox

logger = logging.getLogger(__name__)

_MAX_SECONDS = 50


@shared_task(name="legacy_dual_write")
def legacy_dual_write() -> int:
    """Write pending rows to the legacy file; when it is missing or locked, they stay pending."""
    total, deadline = 0, time.monotonic() + _MAX_SECONDS
    try:
        while time.monotonic() < deadline and (sent := send_outbox()):
            total += sent
    except KamioiError as error:
        logger.warning("dual-write: %s", error)
    return total
