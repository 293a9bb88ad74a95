"""`make run`: all of Kamioi on one machine, in the foreground, until Ctrl-C.

Servers, migrations, static files and the demo first; then the web processes, the Celery workers and beat as children of
`docker.local.process_manager`. Servers are stopped at the end only if this run, or a killed one before it, started
them.

`python -m docker.local.devserver --stop` stops the run of this home and its embedded servers.
"""

import json
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from docker.local import process_manager
from docker.local.process_manager import Child, RunError, echo
from kamioi_site.errors import KamioiError
from kamioi_site.local import embedded_servers, system

HEALTHY_TIMEOUT = 120.0  # seconds
# Worker → its queues. Every queue has a worker.
WORKERS = {"transactions": "transactions", "general": "ai,analytics,notifications,bulk"}


def get_children(host: str, port: int) -> list[Child]:
    """List the processes of Kamioi on one machine, in the order in which they start."""
    celery = [sys.executable, "-m", "celery", "-A", "kamioi_site"]
    web = [sys.executable, "-m", "gunicorn", "kamioi_site.asgi:application"]
    web += ["--worker-class", "uvicorn_worker.UvicornWorker", "--workers", "2", "--bind", f"{host}:{port}"]
    return [
        *(
            Child(
                name=f"worker-{name}",
                group="workers",
                command=[*celery, "worker", "-l", "info", "-c", "2", "-n", f"{name}@%h", "-Q", queues],
                stop_timeout=30,
            )
            for name, queues in WORKERS.items()
        ),
        Child(name="web", command=[*web, "--timeout", "60", "--graceful-timeout", "10"], stop_timeout=15),
        Child(name="beat", command=[*celery, "beat", "-l", "info", "--pidfile="], stop_timeout=5),
    ]


def run() -> int:
    """Start, supervise and stop everything. Returns the exit code: 0 when a signal requested the end."""
    host, port = os.environ.get("HOST") or "127.0.0.1", _port()
    with process_manager.run_lock() as here:
        previous = process_manager.last_run(here)
        process_manager.kill_by_token(previous.get("token", ""))
        if process_manager.port_taken(host, port):
            raise RunError(f"Port {port} is in use by another program. Choose another one: make run PORT={port + 1}")
        running = {server.name for server in embedded_servers.server_status() if server.running}
        owned = sorted(({"postgres", "redis"} - running) | set(previous.get("servers", [])))
        token = secrets.token_hex(16)
        system.write_private(here / "run.json", json.dumps({"token": token, "servers": owned}))
        os.environ[process_manager.TOKEN] = token
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.dev")
        # Web and workers share the directory: one scrape of the web returns the metrics of all.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_empty_metrics_directory(here))
        children = get_children(host, port)
        code = 0
        try:
            process_manager.handle_signals(process_manager.request_stop)
            echo("Starting PostgreSQL and Redis ...")
            embedded_servers.ensure_servers()
            echo("Migrating the database ...")
            process_manager.manage("migrate", "--noinput")
            process_manager.prepare_site(here, demo=True)
            for child in children:
                process_manager.start(child)
            echo("Waiting for the web and the workers ...")
            address = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104  # a comparison
            process_manager.wait_until_healthy(
                children, urls=[f"http://{address}:{port}/healthz"], workers=WORKERS, seconds=HEALTHY_TIMEOUT
            )
            echo(f"\nKamioi runs at http://localhost:{port}/admin/   (logs: {here / 'logs'}; Ctrl-C stops it)")
            process_manager.show_login(here)
            process_manager.watch(children)
        except process_manager.StopRequested:
            echo("\nStopping (Ctrl-C again stops at once) ...")
        except KamioiError as error:
            print(error, file=sys.stderr)
            code = 1
        finally:
            process_manager.handle_signals(process_manager.force_stop)
            # Beat first, so that it sends no new tasks; then the web; the workers finish their tasks.
            process_manager.stop(children)
            process_manager.kill_by_token(token)  # a process that a signal interrupted while it was being started
            stopped = embedded_servers.stop_servers(owned)
            echo("Stopped" + (f", with {' and '.join(stopped)}." if stopped else "."))
            (here / "run.json").unlink(missing_ok=True)
    return code


def stop() -> int:
    """Stop the run of this home, the processes of a killed run, and the embedded servers."""
    process_manager.stop_running()
    stopped = embedded_servers.stop_servers()
    echo("Stopped" + (f": {' and '.join(stopped)}." if stopped else "; no server of this home was running."))
    return 0


def _empty_metrics_directory(here: Path) -> Path:
    directory = here / "metrics"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise RunError(f"PORT must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Run, or stop with `--stop`; returns the exit code."""
    logging.getLogger("celery").setLevel(logging.ERROR)
    try:
        return stop() if list(arguments) == ["--stop"] else run()
    except KamioiError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
