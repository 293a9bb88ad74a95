"""The broker by its URL alone: Redis, Redis behind Sentinels, or RabbitMQ, with the same queues and the same order of work.

What differs between them stands here and nowhere else:
- **Priority.** We count from 0 (first: a customer's own purchase) to 9 (last: bulk work). Redis pops in that order;
  RabbitMQ gives the highest number first, so numbers are turned around on the way. `message_priority` is what a message
  carries; a message that is retried keeps its number.
- **Queues.** On RabbitMQ they are classic queues with priorities, or with `CELERY_QUORUM_QUEUES` replicated ones, which
  know two priorities from RabbitMQ 4 on and none before. A lost classic queue costs nothing but time: state is in
  PostgreSQL, and the sweeps send again what was lost.
- **Options** of the transport, none of which another one understands.
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

LAST_PRIORITY: Final = 9
# Who sends a message while the broker is away hears of it at once, after a second try: the sweeps send it later. By itself
# Kombu would hold a request for six seconds.
_ONE_MORE_TRY: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
# What sending a message raises while the broker is away, refuses, or does not answer in time.
BROKER_ERRORS: Final = (KombuError, AMQPError, RedisError, OSError)


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Settings of Celery that follow from the URL."""

    url: str
    transport_options: dict[str, Any]
    queues: list[Any]  # of kombu.Queue
    last_goes_first: bool

    def priority(self, level: int) -> int:
        """The number that a message of this level carries."""
        return LAST_PRIORITY - level if self.last_goes_first else level


def broker_of(url: str, *, queues: Iterable[str], quorum: bool = False) -> Broker:
    """How to talk to the broker that the URL names."""
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
                **_ONE_MORE_TRY,
                **celery_options(url),
            },
            queues=[Queue(name) for name in queues],
            last_goes_first=False,
        )
    arguments: dict[str, Any] = {"x-queue-type": "quorum"} if quorum else {"x-max-priority": LAST_PRIORITY}
    return Broker(
        url=url,
        # A message counts as sent when the broker has it; one that takes no more says so in seconds.
        transport_options={"confirm_publish": True, "read_timeout": 10, "write_timeout": 10, **_ONE_MORE_TRY},
        queues=[Queue(name, queue_arguments=arguments) for name in queues],
        last_goes_first=True,
    )


def message_priority(level: int) -> int:
    """What to give Celery as `priority` for this level, 0 (first) to 9 (last)."""
    return level if is_redis(settings.BROKER_URL) else LAST_PRIORITY - level
