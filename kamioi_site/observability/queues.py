"""The queues of the broker, read by the metrics and by the operations dashboard alike."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from celery import current_app
from django.conf import settings

TIMEOUT_SECONDS: Final = 1.0
SENT_HEADER: Final = "kamioi_sent"  # of a message: when it was sent


@dataclass(slots=True)
class QueueStatus:
    """Waiting messages by priority, and the age of the oldest one in seconds (None if unknown)."""

    name: str
    by_priority: dict[str, int] = field(default_factory=dict)
    oldest_seconds: float | None = None

    @property
    def waiting(self) -> int:
        return sum(self.by_priority.values())


@contextmanager
def broker_connection() -> Iterator[Any]:
    """Open a connection to the broker that gives up within about a second."""
    connection = current_app.connection_for_read()
    if is_redis_broker(connection):
        timeouts = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
        connection.transport_options = {**(connection.transport_options or {}), **timeouts}
    connection.connect_timeout = TIMEOUT_SECONDS
    with connection:
        connection.ensure_connection(max_retries=1, timeout=TIMEOUT_SECONDS, interval_start=0, interval_step=0)
        yield connection


def is_redis_broker(connection: Any) -> bool:
    return bool(connection.transport.driver_type == "redis")


def queue_statuses() -> tuple[list[QueueStatus], int | None]:
    """Return the status of every queue and the number of unacknowledged messages (None if unknown).

    Raises one of `BROKER_ERRORS` if the broker does not respond.
    """
    with broker_connection() as connection:
        if not is_redis_broker(connection):
            return [QueueStatus(name, {"all": _length(connection, name)}) for name in current_app.amqp.queues], None
        channel = connection.default_channel
        lists = [(queue.name, step) for queue in settings.CELERY_TASK_QUEUES for step in channel.priority_steps]
        pipe = channel.client.pipeline(transaction=False)
        for queue, step in lists:
            key = channel._q_for_pri(queue, step)
            pipe.llen(key)
            pipe.lindex(key, -1)  # messages are pushed on the left and popped on the right
        pipe.hlen(channel.unacked_key)
        *replies, unacknowledged = pipe.execute()
    now = time.time()
    statuses = {queue.name: QueueStatus(queue.name, oldest_seconds=0.0) for queue in settings.CELERY_TASK_QUEUES}
    for (queue, step), count, message in zip(lists, replies[::2], replies[1::2], strict=True):
        status = statuses[queue]
        status.by_priority[str(step)] = count
        if message is not None and (sent_at := _sent_at(message)) is not None:
            status.oldest_seconds = max(status.oldest_seconds or 0.0, now - sent_at)
    return list(statuses.values()), unacknowledged


def _length(connection: Any, queue: str) -> int:
    with connection.channel() as channel:  # RabbitMQ closes the channel that asks for a missing queue
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except connection.channel_errors:
            return 0


def _sent_at(message: bytes) -> float | None:
    try:
        sent_at = json.loads(message)["headers"].get(SENT_HEADER)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return sent_at if isinstance(sent_at, (int, float)) else None
