"""Check the process of this container: exit code 0, or 1 with a reason. Usage: health.py web|worker QUEUE|beat.

It answers for the process alone: a database or broker that is away is no reason to kill what waits for it. It does not
load the application, so that asking often costs little.
"""

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

BEAT_SILENCE = 900  # seconds; beat writes down what it sent every three minutes, and something is due every five


def main(arguments: list[str]) -> int:
    """Check one role; returns the exit code."""
    match arguments:
        case ["web"]:
            reason = web()
        case ["worker", queue]:
            reason = worker(queue)
        case ["beat"]:
            reason = beat()
        case _:
            print("usage: health.py web | worker QUEUE | beat", file=sys.stderr)
            return 2
    if reason:
        print(reason, file=sys.stderr)
    return 1 if reason else 0


def web() -> str:
    """Why the web process is not well, or nothing."""
    port = os.environ.get("WEB_BIND", "0.0.0.0:8000").rpartition(":")[2]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=8) as reply:
            return "" if reply.status == 200 else f"/healthz answers {reply.status}"
    except (OSError, urllib.error.URLError) as error:
        return f"/healthz does not answer: {error}"


def worker(queue: str) -> str:
    """Return why the pool is unhealthy, or nothing. Without the broker the state is unknown: healthy."""
    from celery import Celery  # noqa: PLC0415  # the other roles do without
    from kombu.exceptions import OperationalError  # noqa: PLC0415

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from kamioi_site.messaging.broker import broker_settings  # noqa: PLC0415  # no Django behind it but names

    broker = broker_settings(_secret("CELERY_BROKER_URL") or _secret("REDIS_URL"), queues=())
    app = Celery(broker=broker.url)
    app.conf.broker_transport_options = broker.transport_options | {"socket_timeout": 5, "socket_connect_timeout": 3}
    name = f"{queue}@{socket.gethostname()}"
    try:
        replies = app.control.ping(destination=[name], timeout=6.0)
    except (OSError, OperationalError, *app.connection_for_write().connection_errors):
        return ""
    return "" if replies else f"{name} does not answer"


def beat() -> str:
    """Why beat is not well, or nothing: the newest thing it sent is too long ago."""
    import psycopg2  # noqa: PLC0415  # the other roles do without

    started = Path(os.environ.get("TMPDIR", "/tmp"), "kamioi-role").stat().st_mtime  # noqa: S108
    if time.time() - started < BEAT_SILENCE:
        return ""
    try:
        connection = psycopg2.connect(_secret("DATABASE_URL"), connect_timeout=5)
    except psycopg2.OperationalError:
        return ""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT extract(epoch FROM now() - max(last_run_at)) FROM django_celery_beat_periodictask WHERE enabled"
            )
            (age,) = cursor.fetchone()
    finally:
        connection.close()
    return (
        "" if age is not None and age < BEAT_SILENCE else f"beat has sent nothing for {age or 'ever so many'} seconds"
    )


def _secret(name: str) -> str:
    """As in kamioi_site/settings/env.py, without importing it."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text().strip() if path else os.environ.get(name, "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
