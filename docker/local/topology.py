"""The production topology as processes of one machine: `docker/local-cluster`.

A PostgreSQL primary with a streaming replica, PgBouncer (transaction pooling) in front of both, Redis, three web
processes behind nginx, one worker pool per queue, and beat. nginx, PgBouncer and gunicorn use the configuration files
of the containers.

- All state is under `KAMIOI_HOME/cluster`; the servers of `make run` are never touched.
- `cluster.json` there describes the running cluster: current pids and ports, addresses, environment of the processes.
- Every process that exits is restarted, servers included.
- If nginx or PgBouncer is not installed, the cluster runs without it and prints what to install.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil

from docker.local import process_manager
from docker.local.process_manager import Child, RunError, echo
from docker.local.replica import EmbeddedReplica
from kamioi_site.errors import KamioiError
from kamioi_site.local import embedded_servers, system
from kamioi_site.local.embedded_servers import REPOSITORY
from kamioi_site.local.servers import APPLICATION_ROLE, DATABASE_NAME, EmbeddedPostgres, EmbeddedRedis
from kamioi_site.local.system import free_port

WEBS = 3
# Queue → processes of its pool. Few, because it is one machine.
QUEUES = {"ai": 1, "transactions": 2, "analytics": 1, "notifications": 1, "bulk": 1}
# The small cluster, for tests that kill processes and cannot wait for sixteen of them to start.
SMALL_WEBS = 2
HEALTHY_TIMEOUT = 180.0  # seconds
DOCKER = REPOSITORY / "docker"
_PRIMARY_SETTINGS = {"max_slot_wal_keep_size": "1GB", "shared_buffers": "256MB"}
_REPLICA_SETTINGS = {"hot_standby_feedback": "on", "shared_buffers": "128MB"}
_INSTALL = "apt-get install --no-install-recommends nginx-light pgbouncer"


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of a running cluster. `pid` is None while it waits to be restarted."""

    name: str
    kind: str  # postgres, replica, pgbouncer, redis, web, worker, beat, nginx
    pid: int | None
    port: int | None
    starts: int
    log: str


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running cluster, as described by `cluster.json`."""

    address: str
    home: str
    pid: int
    processes: list[Process]
    environment: dict[str, str]  # of the cluster's processes: settings, addresses, secrets
    direct_database_url: str  # of the owner of the schema; bypasses PgBouncer

    def process(self, name: str) -> Process:
        """Return the process of that name; raises KeyError."""
        return {process.name: process for process in self.processes}[name]

    def kind(self, kind: str) -> list[Process]:
        """Return every process of that kind."""
        return [process for process in self.processes if process.kind == kind]


def cluster_home() -> Path:
    """Return the directory of the cluster's state: `KAMIOI_HOME/cluster`."""
    here = embedded_servers.home()
    return here if here.name == "cluster" else here / "cluster"


def read_cluster(here: Path | None = None) -> Cluster | None:
    """Return the running cluster of this home, or None. Read it again after a restart: pids change."""
    try:
        state: dict[str, Any] = json.loads(((here or cluster_home()) / "cluster.json").read_text())
    except (OSError, ValueError):
        return None
    if not psutil.pid_exists(state["pid"]):
        return None
    return Cluster(**state | {"processes": [Process(**process) for process in state["processes"]]})


class _Fleet:
    """All processes of the cluster, in the order in which they start."""

    def __init__(self, here: Path, port: int, without: Collection[str], *, small: bool = False) -> None:
        self.here = here
        self.webs = SMALL_WEBS if small else WEBS
        # Pool → its queues, and its number of processes.
        self.pools = {"all": (",".join(QUEUES), 2)} if small else {name: (name, size) for name, size in QUEUES.items()}
        self.owner = system.server_owner()
        self.primary = EmbeddedPostgres(here, _PRIMARY_SETTINGS)
        self.replica = None if "replica" in without else EmbeddedReplica(here, self.primary, _REPLICA_SETTINGS)
        self.redis = EmbeddedRedis(here)
        self.redis.choose_port()
        self.nginx = None if "nginx" in without else _program("nginx")
        self.pgbouncer = None if "pgbouncer" in without else _program("pgbouncer")
        # Programs that are not installed.
        self.missing = [name for name in ("nginx", "pgbouncer") if name not in without and _program(name) is None]
        names = [*(f"web-{number}" for number in self.web_numbers), *(f"worker-{pool}" for pool in self.pools)]
        self.ports = {name: free_port() for name in [*names, "pgbouncer", "nginx-status"]}
        self.ports |= {"nginx": port, "redis": urlsplit(self.redis.url).port or 0}
        if self.nginx is None:
            self.ports["web-1"] = port
        self.kinds: dict[str, str] = {}
        self.children: list[Child] = []

    @property
    def web_numbers(self) -> range:
        """The numbers of the web processes, from 1."""
        return range(1, self.webs + 1)

    @property
    def address(self) -> str:
        """The URL of the cluster."""
        return f"http://127.0.0.1:{self.ports['nginx' if self.nginx else 'web-1']}"

    def environment(self) -> dict[str, str]:
        """Return the variables that connect a process to this cluster."""
        database, replica = self.primary.url, self.replica.url if self.replica else ""
        if self.pgbouncer:
            password = quote((self.here / "pgbouncer" / "password").read_text(), safe="")
            base = f"postgresql://{APPLICATION_ROLE}:{password}@127.0.0.1:{self.ports['pgbouncer']}/{DATABASE_NAME}"
            database, replica = base, f"{base}_replica" if self.replica else ""
        return {
            "KAMIOI_HOME": str(self.here),
            "DJANGO_SETTINGS_MODULE": "kamioi_site.settings.dev",
            "DATABASE_URL": database,
            "MIGRATION_DATABASE_URL": self.primary.owner_url,  # bypasses PgBouncer
            "REPLICA_URL": replica,
            "REDIS_URL": self.redis.url,
            "PGBOUNCER": "1" if self.pgbouncer else "0",
            # PgBouncer queues clients beyond its pool, so a process needs few connections.
            "DATABASE_POOL_SIZE": os.environ.get("DATABASE_POOL_SIZE", "5"),
            "DATABASE_POOL_OVERFLOW": os.environ.get("DATABASE_POOL_OVERFLOW", "25"),
        }

    # --- Servers ------------------------------------------------------------------------------------------------------
    def start_servers(self) -> None:
        """Start PostgreSQL, its replica, Redis and PgBouncer, each ready before the next needs it."""
        common: dict[str, Any] = {"owner": self.owner, "environment": system.plain_environment(), "stop_timeout": 60}
        servers = [self.primary, self.redis, *([self.replica] if self.replica else [])]
        for server in servers:
            server.prepare()
            child = Child(
                name=server.name,
                command=server.command,
                prepare=server.prepare,
                stop_signal=server.stop_signals[0],
                **common,
            )
            self._add(child, server.name)
            process_manager.start(child)
            server.wait_until_ready()
            if server is self.primary:
                self.primary.create_database()
        if self.pgbouncer:
            child = Child(
                name="pgbouncer",
                command=[self.pgbouncer, str(self.here / "pgbouncer" / "pgbouncer.ini")],
                prepare=self._write_pgbouncer,
                **common | {"stop_timeout": 10},
            )
            self._add(child, "pgbouncer")
            process_manager.start(child)

    def start_processes(self) -> None:
        """Start the workers, the web processes, nginx and beat."""
        environment = dict(os.environ)
        celery = [sys.executable, "-m", "celery", "-A", "kamioi_site"]
        for pool, (queues, size) in self.pools.items():
            command = [*celery, "worker", "-l", "info", "-c", str(size), "-n", f"{pool}@%h", "-Q", queues]
            child = Child(
                name=f"worker-{pool}",
                group="workers",
                command=command,
                environment=environment | {"KAMIOI_WORKER_METRICS_PORT": str(self.ports[f"worker-{pool}"])},
                stop_timeout=30,
            )
            self._add(child, "worker")
        gunicorn = [sys.executable, "-m", "gunicorn"]
        for number in self.web_numbers:
            name = f"web-{number}"
            child = Child(
                name=name,
                group="web",
                command=[*gunicorn, "-c", str(DOCKER / "gunicorn.conf.py"), "kamioi_site.asgi:application"],
                environment=environment
                | {
                    "WEB_BIND": f"127.0.0.1:{self.ports[name]}",
                    "WEB_CONCURRENCY": os.environ.get("WEB_CONCURRENCY", "1"),
                    "WEB_GRACEFUL_TIMEOUT": "10",
                    "FORWARDED_ALLOW_IPS": "127.0.0.1",
                    "PROMETHEUS_MULTIPROC_DIR": str(self.here / "metrics" / name),
                },
                stop_timeout=15,
            )
            self._add(child, "web")
        if self.nginx:
            child = Child(
                name="nginx",
                command=[self.nginx, "-e", "stderr", "-c", f"{self.here}/nginx/nginx.conf", "-g", "daemon off;"],
                prepare=self._write_nginx,
                owner=self.owner,
                environment=system.plain_environment(),
                stop_timeout=10,
            )
            self._add(child, "nginx")
        self._add(Child(name="beat", command=[*celery, "beat", "-l", "info", "--pidfile="], stop_timeout=5), "beat")
        for child in self.children:
            if child.process is None:
                process_manager.start(child)

    def wait_until_healthy(self) -> None:
        """Wait until every web process, nginx and every worker answers."""
        webs = [
            f"http://127.0.0.1:{self.ports[child.name]}" for child in self.children if self.kinds[child.name] == "web"
        ]
        urls = [f"{base}/readyz" for base in [*webs, self.address]]
        process_manager.wait_until_healthy(self.children, urls=urls, workers=self.pools, seconds=HEALTHY_TIMEOUT)

    def write_state(self) -> None:
        """Write `cluster.json`, readable by its owner only because it holds passwords."""
        state = Cluster(
            address=self.address,
            home=str(self.here),
            pid=os.getpid(),
            processes=[
                Process(
                    name=child.name,
                    kind=self.kinds[child.name],
                    pid=child.pid,
                    port=self.ports.get(child.name),
                    starts=child.starts,
                    log=str(child.log),
                )
                for child in self.children
            ],
            environment=self.environment(),
            direct_database_url=self.primary.owner_url,
        )
        system.write_private(self.here / "cluster.json", json.dumps(asdict(state), indent=1))

    def _add(self, child: Child, kind: str) -> None:
        self.children.append(child)
        self.kinds[child.name] = kind

    # --- Configuration, written by the scripts of the containers ------------------------------------------------------
    def _write_pgbouncer(self) -> None:
        directory = self.here / "pgbouncer"
        self._render(
            "pgbouncer",
            {
                "PGBOUNCER_DIR": str(directory),
                "PGBOUNCER_DATABASE": DATABASE_NAME,
                "PGBOUNCER_USER": APPLICATION_ROLE,
                "PGBOUNCER_SERVER_USER": APPLICATION_ROLE,
                "PGBOUNCER_PRIMARY_HOST": str(self.primary.socket_directory),
                "PGBOUNCER_REPLICA_HOST": str((self.replica or self.primary).socket_directory),
                "PGBOUNCER_LISTEN_ADDRESS": "127.0.0.1",
                "PGBOUNCER_LISTEN_PORT": str(self.ports["pgbouncer"]),
                "PGBOUNCER_PASSWORD_FILE": str(directory / "password"),
                "PGBOUNCER_STATS_PASSWORD_FILE": str(directory / "password"),
            },
        )

    def _write_nginx(self) -> None:
        directory = self.here / "nginx"
        self._render(
            "nginx",
            {
                "NGINX_DIR": str(directory),
                "NGINX_SITE": "plain",
                "NGINX_LISTEN": f"127.0.0.1:{self.ports['nginx']}",
                "NGINX_STATUS_LISTEN": f"127.0.0.1:{self.ports['nginx-status']}",
                "NGINX_UPSTREAM": " ".join(f"127.0.0.1:{self.ports[f'web-{n}']}" for n in self.web_numbers),
                "NGINX_WORKERS": "1",
                "NGINX_TEMP": str(directory / "temp"),
                "NGINX_STATIC": str(self.here / "static"),
                "NGINX_ACCESS_LOG": str(self.here / "nginx" / "access.log"),
            },
        )

    def _render(self, name: str, values: Mapping[str, str]) -> None:
        directory = self.here / name
        system.private_directory(directory, self.owner)
        system.grant_traverse(directory, self.owner)
        if not (directory / "password").exists():
            system.write_private(directory / "password", secrets.token_urlsafe(24), self.owner)
        done = subprocess.run(
            ["/bin/sh", str(DOCKER / name / "render.sh")],
            env=system.plain_environment() | dict(values),
            check=False,
            capture_output=True,
            text=True,
            **system.as_user(self.owner),
        )
        if done.returncode != 0:
            raise RunError(f"docker/{name}/render.sh failed: {done.stderr.strip()}")


def _program(name: str) -> str | None:
    """Find the program, also in /usr/sbin, which only root has on its path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def run(port: int, *, demo: bool, without: Collection[str] = (), small: bool = False) -> int:
    """Start, supervise and stop the cluster. Returns the exit code: 0 when a signal requested the end."""
    os.environ["KAMIOI_HOME"] = str(cluster_home())
    with process_manager.run_lock() as here:
        process_manager.kill_by_token(process_manager.last_run(here).get("token", ""))
        (here / "cluster.json").unlink(missing_ok=True)
        if port and process_manager.port_taken("127.0.0.1", port):
            raise RunError(f"Port {port} is in use by another program. Set PORT to another one, or to 0 for any.")
        token = secrets.token_hex(16)
        system.write_private(here / "run.json", json.dumps({"token": token}))
        os.environ[process_manager.TOKEN] = token
        for name in ("DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL", "REPLICA_URL", "CELERY_BROKER_URL"):
            os.environ.pop(f"{name}_FILE", None)
            os.environ.pop(name, None)
        fleet = _Fleet(here, port or free_port(), without, small=small)
        code = 0
        try:
            process_manager.handle_signals(process_manager.request_stop)
            _bring_up(fleet, demo=demo)
            process_manager.watch(fleet.children, fleet.write_state)
        except process_manager.StopRequested:
            echo("\nStopping (Ctrl-C again stops at once) ...")
        except (KamioiError, OSError) as error:
            print(error, file=sys.stderr)
            code = 1
        finally:
            process_manager.handle_signals(process_manager.force_stop)
            (here / "cluster.json").unlink(missing_ok=True)
            process_manager.stop(fleet.children)
            process_manager.kill_by_token(token)
            (here / "run.json").unlink(missing_ok=True)
            echo("Stopped.")
    return code


def _bring_up(fleet: _Fleet, *, demo: bool) -> None:
    if fleet.missing:
        echo(f"Not installed: {' and '.join(fleet.missing)}. The cluster runs without it. To install: {_INSTALL}")
    names = ["PostgreSQL", "its replica" if fleet.replica else "", "Redis", "PgBouncer" if fleet.pgbouncer else ""]
    echo(f"Starting {', '.join(filter(None, names))} ...")
    fleet.start_servers()
    os.environ.update(fleet.environment())
    echo("Migrating the database ...")
    process_manager.manage("migrate", "--noinput")
    process_manager.prepare_site(fleet.here, demo=demo)
    echo(
        f"Starting {fleet.webs} web processes, {len(fleet.pools)} worker pools, beat"
        + (" and nginx ..." if fleet.nginx else " ...")
    )
    fleet.start_processes()
    fleet.wait_until_healthy()
    fleet.write_state()
    echo(f"\nThe cluster runs at {fleet.address}/admin/   (logs: {fleet.here / 'logs'}; Ctrl-C stops it)")
    if demo or (fleet.here / "demo-login.txt").exists():
        process_manager.show_login(fleet.here)
    else:
        echo("No user exists yet: run docker/local-cluster exec manage.py createsuperuser, or start with --demo.")


def stop() -> int:
    """Stop the cluster of this home, and the processes of a killed one."""
    os.environ["KAMIOI_HOME"] = str(cluster_home())
    process_manager.stop_running()
    echo("Stopped.")
    return 0


def start_in_background(port: int, *, demo: bool, without: Collection[str] = (), small: bool = False) -> int:
    """Start the cluster in the background and return when it is up."""
    here = cluster_home()
    log = here / "cluster.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "docker.local.topology",
                *(f"--without={name}" for name in without),
                *(["--small"] if small else []),
                "run",
                *(["--demo"] if demo else []),
            ],
            cwd=REPOSITORY,
            env=os.environ | {"PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None:
        if (cluster := read_cluster(here)) is not None and cluster.pid == process.pid:
            echo(log.read_text().strip())
            return 0
        time.sleep(0.2)
    print(log.read_text(errors="replace").strip(), file=sys.stderr)
    return process.returncode or 1


def execute(command: Sequence[str]) -> int:
    """Replace this process by the command, with the environment of the running cluster."""
    cluster = read_cluster()
    if cluster is None:
        raise RunError(f"No cluster is running in {cluster_home()}.")
    if command[0] in {"manage.py", "./manage.py"}:
        command = [sys.executable, str(REPOSITORY / "manage.py"), *command[1:]]
    os.execvpe(command[0], list(command), os.environ | cluster.environment)  # noqa: S606  # a developer's own command


def main(arguments: Sequence[str]) -> int:
    """Run a command of `docker/local-cluster`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="docker/local-cluster", description="Run the production topology on this machine."
    )
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000), help="0 chooses a free one")
    parser.add_argument("--demo", action="store_true", help="load the demo into an empty database")
    parser.add_argument(
        "--without", action="append", default=[], choices=["nginx", "pgbouncer", "replica"], help="run without it"
    )
    parser.add_argument("--small", action="store_true", help="two web processes, and one worker pool for all queues")
    parser.add_argument("--stop", action="store_true", help="stop the running cluster")
    commands = parser.add_subparsers(dest="command")
    for name, what in {
        "run": "start in the foreground, until Ctrl-C (the default)",
        "start": "start in the background and return when it is up",
        "stop": "stop the running cluster",
        "status": "print cluster.json: pids, ports, addresses; exit code 1 when none is running",
    }.items():
        command = commands.add_parser(name, help=what)
        if name in {"run", "start"}:
            command.add_argument("--demo", action="store_true", default=argparse.SUPPRESS, help="load the demo")
    executed = commands.add_parser(
        "exec", help="run a command with the cluster's environment, e.g. exec manage.py shell"
    )
    executed.add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    try:
        if options.stop or options.command == "stop":
            return stop()
        match options.command:
            case "status":
                cluster = read_cluster()
                print("no cluster is running" if cluster is None else json.dumps(asdict(cluster), indent=1))
                return 1 if cluster is None else 0
            case "exec" if options.rest:
                return execute(options.rest)
            case "exec":
                parser.error("exec needs a command")
            case "start":
                return start_in_background(
                    options.port, demo=options.demo, without=options.without, small=options.small
                )
            case _:
                return run(options.port, demo=options.demo, without=options.without, small=options.small)
    except KamioiError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
