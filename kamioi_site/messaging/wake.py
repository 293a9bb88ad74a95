"""Messages that wake a worker: many requests make one message."""

import logging
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction
from redis import RedisError

from kamioi_site.cache.redis import redis_client
from kamioi_site.messaging.broker import BROKER_ERRORS

logger = logging.getLogger(__name__)

# A message that no worker has taken in this time counts as lost: the next one is sent again.
_FLAG_SECONDS = 10


def wake(task: str, *, key: str, **options: Any) -> None:
    """Send the task after this transaction commits, unless a message with this key is in flight.

    A flag in Redis marks it; the task calls `clear_wake` before it looks for work. A row committed after the flag was
    set is therefore either seen by that run or sets the flag again. What a lost message leaves is found by a sweep.

    Args:
        options: of Celery's `send_task`.
    """
    transaction.on_commit(partial(_send, task, key, options))


def _send(task: str, key: str, options: dict[str, Any]) -> None:
    try:
        if redis_client().set(_flag(key), 1, nx=True, ex=_FLAG_SECONDS) is None:
            return
    except RedisError:
        logger.warning("Redis is unavailable: the message is sent without its flag")
    try:
        current_app.send_task(task, retry=False, ignore_result=True, **options)
    except BROKER_ERRORS:
        logger.warning("the broker is unavailable: %s will run later", task)


def clear_wake(key: str) -> None:
    """Clear the flag: from here on a new row sends a new message."""
    try:
        redis_client().delete(_flag(key))
    except RedisError:
        logger.warning("Redis is unavailable: the flag expires in a few seconds")


def _flag(key: str) -> str:
    return f"kamioi:wake:{key}"
