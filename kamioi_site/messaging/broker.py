"""Celery settings for the broker that a URL names: Redis, Redis with Sentinels, or RabbitMQ.

All differences between the brokers are handled here:
- **Priority.** We count from 0 (first: a customer's own purchase) to 9 (last: bulk work). Redis delivers in that order;
  RabbitMQ delivers the highest number first, so the numbers are inverted. `message_priority` returns the number that a
  message carries; a retried message keeps its number.
- **Queues.** On RabbitMQ these are classic queues with priorities, or with `CELERY_QUORUM_QUEUES` replicated ones,
  which have two priorities from RabbitMQ 4 on and none before. A lost classic queue only costs time: the state is in
  PostgreSQL, and the sweeps send lost messages again.
- **Transport options**, which differ for each broker.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from amqp.exceptions import AMQPError
from django.conf import settings
from kombu import Queue
from kombu.exceptions import KombuError
from redis import RedisError

from kamioi_site.cache.redis import celery_options, celery_url, is_redis

LOWEST_PRIORITY: Final = 9
# Sending fails after one retry while the broker is down; the sweeps send the message later. Kombu's default would
# block a request for six seconds.
_RETRY_ONCE: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
# Raised by sending a message while the broker is down, refuses it, or does not answer in time.
BROKER_ERRORS: Final = (KombuError, AMQPError, RedisError, OSError)


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Celery settings derived from the broker's URL."""

    url: str
    transport_options: dict[str, Any]
    queues: list[Any]  # of kombu.Queue
    highest_number_first: bool

    def priority(self, level: int) -> int:
        """Return the number that a message of this level carries."""
        return LOWEST_PRIORITY - level if self.highest_number_first else level


def broker_settings(url: str, *, queues: Iterable[str], quorum: bool = False) -> Broker:
    """Return the settings for the broker that the URL names."""
    if is_redis(url):
        return Broker(
            url=celery_url(url),
            transport_options={
                # Longer than the hard time limit, so that a running task is never handed to a second worker.
                "visibility_timeout": 900,
                "priority_steps": [0, 3, 6, 9],
                "queue_order_strategy": "priority",
                "socket_timeout": 10,
                "socket_connect_timeout": 5,
                **_RETRY_ONCE,
                **celery_options(url),
            },
            queues=[Queue(name) for name in queues],
            highest_number_first=False,
        )
    arguments: dict[str, Any] = {"x-queue-type": "quorum"} if quorum else {"x-max-priority": LOWEST_PRIORITY}
    return Broker(
        url=url,
        # A message counts as sent when the broker confirms it; a broker that accepts no more fails within seconds.
        transport_options={"confirm_publish": True, "read_timeout": 10, "write_timeout": 10, **_RETRY_ONCE},
        queues=[Queue(name, queue_arguments=arguments) for name in queues],
        highest_number_first=True,
    )


def message_priority(level: int) -> int:
    """Return the Celery `priority` of this level, 0 (first) to 9 (last)."""
    return level if is_redis(settings.BROKER_URL) else LOWEST_PRIORITY - level
