"""Run a real Celery worker for a test, in a separate process on the test's database and Redis."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
from celery import Celery, current_app
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90


def process_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process of the same installation as this test, updated with `given`."""
    path = f"/{connection.settings_dict['NAME']}"
    urls = {name: os.environ.get(name) for name in ("DATABASE_URL", "MIGRATION_DATABASE_URL")}
    return {
        **os.environ,
        **{name: urlunsplit(urlsplit(url)._replace(path=path)) for name, url in urls.items() if url},
        "DJANGO_SETTINGS_MODULE": "kamioi_site.settings.test",
        "REDIS_URL": settings.REDIS_URL,
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        **(given or {}),
    }


@contextlib.contextmanager
def celery_worker(
    *,
    concurrency: int = 2,
    queues: str = "ai,transactions,analytics,notifications,bulk",
    environment: Mapping[str, str] | None = None,
    app: Celery = current_app,
) -> Iterator[psutil.Process]:
    """Run a prefork worker for these queues; it and its children are killed at the end of the block.

    For another broker, pass the `environment` that names it and an `app` that can ping the worker.
    """
    log = Path(settings.MEDIA_ROOT) / "worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "celery",
                "-A",
                "kamioi_site",
                "worker",
                "-l",
                "info",
                "-Q",
                queues,
                "-c",
                str(concurrency),
                "--without-mingle",
                "--without-gossip",
                "-n",
                f"test{os.getpid()}@%h",
            ],
            cwd=ROOT,
            env=process_environment(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as started,
    ):
        worker = psutil.Process(started.pid)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not app.control.ping(timeout=0.5):
                if started.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the worker did not start:\n{log.read_text()[-3000:]}")
            yield worker
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in [*worker.children(recursive=True), worker]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            started.wait(timeout=30)


def wait_until(what: str, happens: object, *, seconds: float = 60, every: float = 0.1) -> None:
    """Poll until `happens` returns true; raises AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not happens():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} seconds"
        time.sleep(every)
