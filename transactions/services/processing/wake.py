"""Messages that wake the workers: many requests make one message."""

import logging
from functools import partial

from celery import current_app
from django.db import transaction
from redis import RedisError

from kamioi_site.cache.redis import redis_client
from kamioi_site.messaging.broker import BROKER_ERRORS, message_priority

logger = logging.getLogger(__name__)

# A message that no worker has taken in this time counts as lost: the next one is sent again.
_FLAG_SECONDS = 10


def notify_workers(*, priority: int) -> None:
    """Wake the workers after this transaction commits.

    A flag in Redis marks a message in flight; the worker clears it before it looks for work. A row committed after the
    flag was set is therefore either seen by that worker or sets the flag again.
    """
    transaction.on_commit(partial(_send_message, priority))


def _send_message(priority: int) -> None:
    try:
        if redis_client().set(_flag_key(priority), 1, nx=True, ex=_FLAG_SECONDS) is None:
            return
    except RedisError:
        logger.warning("Redis is unavailable: the message is sent without its flag")
    try:
        current_app.send_task(
            "process_transactions",
            kwargs={"priority": priority},
            priority=message_priority(priority),
            retry=False,
            ignore_result=True,
        )
    except BROKER_ERRORS:
        logger.warning("the broker is unavailable: sweep_stuck will wake the workers")


def clear_notification(*, priority: int) -> None:
    """Clear the flag: from here on a new row sends a new message."""
    try:
        redis_client().delete(_flag_key(priority))
    except RedisError:
        logger.warning("Redis is unavailable: the flag expires in a few seconds")


def _flag_key(priority: int) -> str:
    return f"kamioi:wake:{priority}"
