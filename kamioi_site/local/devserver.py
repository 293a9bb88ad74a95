"""`make run`: everything of Kamioi on one machine, in the foreground, until Ctrl-C.

Servers, migrations, the demo and static files first; then the web processes, the Celery workers and beat as children
of `kamioi_site.local.process_manager`. Servers are stopped at the end only when this run (or a killed one before it) started them.

`python -m kamioi_site.local.devserver --stop` ends the run of this home and its embedded servers.
"""

import json
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from kamioi_site.errors import KamioiError
from kamioi_site.local import embedded_servers, process_manager
from kamioi_site.local.process_manager import Child, RunError, echo

HEALTHY_TIMEOUT = 120.0  # seconds


def children(port: int) -> list[Child]:
    """What makes up Kamioi on one machine, in the order of starting. Every queue has a worker."""
    python = sys.executable
    celery = [python, "-m", "celery", "-A", "kamioi_site"]
    return [
        Child(
            name="worker-transactions",
            group="workers",
            command=[*celery, "worker", "-l", "info", "-c", "2", "-n", "transactions@%h", "-Q", "transactions"],
            patience=30,
        ),
        Child(
            name="worker-general",
            group="workers",
            command=[
                *celery,
                "worker",
                "-l",
                "info",
                "-c",
                "2",
                "-n",
                "general@%h",
                "-Q",
                "ai,analytics,notifications,bulk",
            ],
            patience=30,
        ),
        Child(
            name="web",
            command=[
                python,
                "-m",
                "gunicorn",
                "kamioi_site.asgi:application",
                "--worker-class",
                "uvicorn_worker.UvicornWorker",
                "--workers",
                "2",
                "--bind",
                f"{_host()}:{port}",
                "--timeout",
                "60",
                "--graceful-timeout",
                "10",
            ],
            patience=15,
        ),
        Child(name="beat", command=[*celery, "beat", "-l", "info", "--pidfile="], patience=5),
    ]


def run() -> int:
    """Start, watch and stop everything. Returns the exit code: 0 when somebody asked for the end."""
    port = _port()
    with process_manager.only_run() as here:
        last = process_manager.last_run(here)
        process_manager.kill_by_token(last.get("token", ""))
        if process_manager.port_taken(_host(), port):
            raise RunError(f"Port {port} is taken by another program. Choose another one: make run PORT={port + 1}")
        running = {server.name for server in embedded_servers.server_status() if server.running}
        owned = sorted(({"postgres", "redis"} - running) | set(last.get("servers", [])))
        token = secrets.token_hex(16)
        embedded_servers.write_private(here / "run.json", json.dumps({"token": token, "servers": owned}))
        os.environ[process_manager.TOKEN] = token
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.dev")
        # Web and workers share it: one scrape of the web tells of all.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_directory(here))
        fleet = children(port)
        code = 0
        try:
            process_manager.on_signals(process_manager.ask_to_stop)
            echo("Starting PostgreSQL and Redis ...")
            embedded_servers.ensure_servers()
            _prepare(here)
            for child in fleet:
                process_manager.start(child)
            echo("Waiting for the web and the workers ...")
            process_manager.wait_until_healthy(
                fleet,
                urls=[f"http://{_local_address()}:{port}/healthz"],
                workers=["transactions", "general"],
                seconds=HEALTHY_TIMEOUT,
            )
            echo(f"\nKamioi runs at http://localhost:{port}/admin/   (logs: {here / 'logs'}; Ctrl-C stops it)")
            process_manager.show_login(here)
            process_manager.watch(fleet)
        except process_manager.Stop:
            echo("\nStopping (once more: at once) ...")
        except KamioiError as error:
            print(error, file=sys.stderr)
            code = 1
        finally:
            process_manager.on_signals(process_manager.force_stop)
            # Beat first, so that nothing new comes; then the web; the workers finish what they hold.
            process_manager.stop(fleet)
            process_manager.kill_by_token(token)  # whatever a signal in the middle of a start left untold
            stopped = embedded_servers.stop_servers(owned)
            echo("Stopped" + (f", with {' and '.join(stopped)}." if stopped else "."))
            (here / "run.json").unlink(missing_ok=True)
    return code


def stop() -> int:
    """End the run of this home, if there is one, what a killed run left behind, and the embedded servers."""
    process_manager.stop_other_run()
    stopped = embedded_servers.stop_servers()
    echo("Stopped" + (f": {' and '.join(stopped)}." if stopped else "; no server of this home was running."))
    return 0


def _metrics_directory(here: Path) -> Path:
    """Where the processes of this run count; empty, for what an earlier run counted is over."""
    directory = here / "metrics"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _prepare(here: Path) -> None:
    echo("Migrating the database ...")
    process_manager.manage("migrate", "--noinput")
    process_manager.collect_static(here)
    load_demo()


def load_demo() -> None:
    """Load the demo into an empty database."""
    echo("Loading the demo ...")
    try:
        process_manager.manage("load_demo")
    except RunError as error:
        # A database with customers of its own takes no demo, and that is no reason not to run.
        echo(f"No demo: {error}")


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise RunError(f"PORT must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def _host() -> str:
    return os.environ.get("HOST") or "127.0.0.1"


def _local_address() -> str:
    return "127.0.0.1" if _host() == "0.0.0.0" else _host()  # noqa: S104  # a comparison


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
