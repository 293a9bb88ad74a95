"""Run `docker/local-cluster` for a test, by its command line and in a temporary home."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from docker.local import topology as local

ROOT = Path(__file__).resolve().parent.parent
SERVERS = (
    "DATABASE_URL",
    "MIGRATION_DATABASE_URL",
    "REDIS_URL",
    "REPLICA_URL",
    "CELERY_BROKER_URL",
    "DJANGO_SETTINGS_MODULE",
    "MEDIA_ROOT",
)


def command(here: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run docker/local-cluster for the home `here`."""
    kept = {name: value for name, value in os.environ.items() if name not in SERVERS}
    return subprocess.run(
        [str(ROOT / "docker" / "local-cluster"), *arguments],
        env=kept | {"KAMIOI_HOME": str(here)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def running(here: Path) -> local.Cluster:
    """Return the running cluster of that home; pids change with every restart."""
    cluster = local.read_cluster(here / "cluster")
    assert cluster is not None
    return cluster


@contextlib.contextmanager
def local_cluster(here: Path, *arguments: str, **environment: str) -> Iterator[local.Cluster]:
    """Run a cluster on free ports until the end of the block."""
    try:
        started = command(here, "--port", "0", *arguments, "start", **environment)
        assert started.returncode == 0, started.stdout + started.stderr
        yield running(here)
    finally:
        command(here, "stop")
