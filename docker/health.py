"""Check the process of this container: exit code 0, or 1 with a reason.

Usage: health.py web|worker QUEUE|beat|database.

It answers for the process alone: a database or broker that is away is no reason to kill what waits for it. It does not
load the application, so that asking often costs little.

Docker starts nothing again that is only unhealthy. With KAMIOI_HEALTH_FAILURES a container ends itself after that many
failures in a row, and two later, when its processes do not even react to that, it kills them. Orchestrators that
restart what is unhealthy leave it unset.
"""

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 60  # as start_period in compose.yml; until then Docker asks every five seconds
BEAT_SILENCE = 900  # seconds; beat writes down what it sends, and something is due every minute


def main(arguments: list[str]) -> int:
    """Check one role; returns the exit code."""
    match arguments:
        case ["web"]:
            reason = web()
        case ["worker", queue]:
            reason = worker(queue)
        case ["beat"]:
            reason = beat()
        case ["database"]:
            reason = database()
            if reason:
                print(reason, file=sys.stderr)
            return 1 if reason else 0
        case _:
            print("usage: health.py web | worker QUEUE | beat | database", file=sys.stderr)
            return 2
    if reason:
        print(reason, file=sys.stderr)
    count_failures(failed=bool(reason))
    return 1 if reason else 0


def count_failures(*, failed: bool) -> None:
    """Count failures in a row after the start; at KAMIOI_HEALTH_FAILURES end the container."""
    allowed = int(os.environ.get("KAMIOI_HEALTH_FAILURES") or 0)
    path = Path(_run_directory(), "kamioi-failures")
    if not allowed or (failed and _age() < START_SECONDS):
        return
    if not failed:
        path.unlink(missing_ok=True)
        return
    count = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(count))
    if count >= allowed + 2:
        print("its processes do not end: killed", file=sys.stderr)
        os.kill(-1, signal.SIGKILL)  # all but this one and process 1, which ends with its child
    elif count >= allowed:
        print(f"{count} failures in a row: ended", file=sys.stderr)
        os.kill(1, signal.SIGTERM)


def database() -> str:
    """Why the database takes no connection, or nothing: what a migration waits for."""
    import psycopg2  # noqa: PLC0415  # the other roles do without

    try:
        psycopg2.connect(_secret("MIGRATION_DATABASE_URL") or _secret("DATABASE_URL"), connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        return f"the database takes no connection: {str(error).strip().splitlines()[-1]}"
    return ""


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

    if _age() < BEAT_SILENCE:
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


def _age() -> float:
    """Seconds since the container started: entrypoint.sh wrote down its role."""
    return time.time() - Path(_run_directory(), "kamioi-role").stat().st_mtime


def _run_directory() -> str:
    return os.environ.get("KAMIOI_RUN") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108


def _secret(name: str) -> str:
    """As in kamioi_site/settings/env.py, without importing it."""
    path = os.environ.get(f"{name}_FILE")
    return Path(path).read_text().strip() if path else os.environ.get(name, "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
