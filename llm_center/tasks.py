"""The tasks of the LLM Center; each only wakes a service."""

import logging
import time

from celery import shared_task

from llm_center.services.proposals import merchants_propose

logger = logging.getLogger(__name__)

# Below the soft time limit: a long queue ends between two batches, and the next run goes on.
RUN_SECONDS = 200


@shared_task(name="process_llm_queue")
def process_llm_queue() -> dict[str, int]:
    """Propose owners for the merchants that nobody knows, and decide what is sure enough."""
    done = merchants_propose(deadline=time.monotonic() + RUN_SECONDS)
    if done.seen:
        logger.info("merchants: %d seen, %d proposed, %d decided", done.seen, done.proposed, done.decided)
    return {"seen": done.seen, "proposed": done.proposed, "decided": done.decided, "released": done.released}
