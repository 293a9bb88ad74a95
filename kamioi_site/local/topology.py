"""The topology of production as processes of one machine: `docker/local-cluster`.

A PostgreSQL primary and its streaming replica, PgBouncer (transaction pooling) before both, Redis, three web processes
behind nginx, one worker pool a queue, and beat; nginx, PgBouncer and gunicorn run on the files that the containers run
on. Rules that hold here:
- Everything lies under `KAMIOI_HOME/cluster`; servers of `make run` are never touched.
- `cluster.json` there says what runs: pids and ports of this moment, addresses, the environment of the processes.
- Whatever dies is started again, servers too.
- Without nginx or PgBouncer on the machine the cluster runs without them, and says what to install.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil

from kamioi_site.errors import KamioiError
from kamioi_site.local import embedded_servers, process_manager
from kamioi_site.local.devserver import load_demo
from kamioi_site.local.embedded_servers import REPOSITORY, EmbeddedPostgres, EmbeddedRedis, EmbeddedReplica, free_port
from kamioi_site.local.process_manager import Child, RunError, echo

WEBS = 3
# Queue → processes of its pool. Small: it is one machine.
QUEUES = {"ai": 1, "transactions": 2, "analytics": 1, "notifications": 1, "bulk": 1}
# The small cluster: what a test needs that kills processes and cannot wait for sixteen to start.
SMALL_WEBS = 2
HEALTHY_TIMEOUT = 180.0  # seconds
DOCKER = REPOSITORY / "docker"
DATABASE_USER = "kamioi"
_PRIMARY_SETTINGS = {"max_slot_wal_keep_size": "1GB", "shared_buffers": "256MB"}
_REPLICA_SETTINGS = {"hot_standby_feedback": "on", "shared_buffers": "128MB"}
_INSTALL = "apt-get install --no-install-recommends nginx-light pgbouncer"


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of a running cluster. `pid` is None while it waits to be started again."""

    name: str
    kind: str  # postgres, replica, pgbouncer, redis, web, worker, beat, nginx
    pid: int | None
    port: int | None
    starts: int
    log: str


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What `cluster.json` says about a running cluster."""

    address: str
    home: str
    pid: int
    processes: list[Process]
    environment: dict[str, str]  # what a process of this cluster needs: settings, addresses, secrets
    direct_database_url: str  # past PgBouncer

    def process(self, name: str) -> Process:
        """The process of that name; raises KeyError."""
        return {process.name: process for process in self.processes}[name]

    def kind(self, kind: str) -> list[Process]:
        """Every process of that kind."""
        return [process for process in self.processes if process.kind == kind]


def cluster_home() -> Path:
    """Where the cluster's state lies: `KAMIOI_HOME/cluster`."""
    here = embedded_servers.home()
    return here if here.name == "cluster" else here / "cluster"


def read_cluster(here: Path | None = None) -> Cluster | None:
    """The cluster of this home when one runs, else None. Read it again after a restart: pids change."""
    try:
        found: dict[str, Any] = json.loads(((here or cluster_home()) / "cluster.json").read_text())
    except (OSError, ValueError):
        return None
    if not psutil.pid_exists(found["pid"]):
        return None
    return Cluster(**found | {"processes": [Process(**process) for process in found["processes"]]})


class _Fleet:
    """Every process of the cluster, in the order of starting."""

    def __init__(self, here: Path, port: int, without: Collection[str], *, small: bool = False) -> None:
        self.here = here
        self.webs = SMALL_WEBS if small else WEBS
        # Pool → its queues and its processes.
        self.pools = {"all": (",".join(QUEUES), 2)} if small else {name: (name, size) for name, size in QUEUES.items()}
        self.owner = embedded_servers.server_owner()
        self.primary = EmbeddedPostgres(here, _PRIMARY_SETTINGS)
        self.replica = None if "replica" in without else EmbeddedReplica(here, self.primary, _REPLICA_SETTINGS)
        self.redis = EmbeddedRedis(here)
        self.redis.choose_port()
        self.nginx = None if "nginx" in without else _program("nginx")
        self.pgbouncer = None if "pgbouncer" in without else _program("pgbouncer")
        # Programs that the machine has not got.
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
        """The web processes, from 1."""
        return range(1, self.webs + 1)

    @property
    def address(self) -> str:
        """Where people reach the cluster."""
        return f"http://127.0.0.1:{self.ports['nginx' if self.nginx else 'web-1']}"

    def environment(self) -> dict[str, str]:
        """What tells a process that it belongs to this cluster."""
        database, replica = self.primary.url, self.replica.url if self.replica else ""
        if self.pgbouncer:
            password = quote((self.here / "pgbouncer" / "password").read_text(), safe="")
            base = f"postgresql://{DATABASE_USER}:{password}@127.0.0.1:{self.ports['pgbouncer']}/{embedded_servers.DATABASE_NAME}"
            database, replica = base, f"{base}_replica" if self.replica else ""
        return {
            "KAMIOI_HOME": str(self.here),
            "DJANGO_SETTINGS_MODULE": "kamioi_site.settings.dev",
            "DATABASE_URL": database,
            "REPLICA_URL": replica,
            "REDIS_URL": self.redis.url,
            "PGBOUNCER": "1" if self.pgbouncer else "0",
            # PgBouncer queues what is more than its pool; a process needs few.
            "DATABASE_POOL_SIZE": os.environ.get("DATABASE_POOL_SIZE", "5"),
            "DATABASE_POOL_OVERFLOW": os.environ.get("DATABASE_POOL_OVERFLOW", "25"),
        }

    # --- Servers ---------------------------------------------------------------------------------------------
    def start_servers(self) -> None:
        """PostgreSQL, its replica, Redis and PgBouncer, each ready before the next needs it."""
        # SIGINT is PostgreSQL's fast shutdown.
        common: dict[str, Any] = {
            "owner": self.owner,
            "environment": embedded_servers.plain_environment(),
            "patience": 60,
        }
        servers: list[EmbeddedPostgres | EmbeddedReplica | EmbeddedRedis] = [
            self.primary,
            self.redis,
            *([self.replica] if self.replica else []),
        ]
        for server in servers:
            server.prepare()
            child = Child(
                name=server.name,
                command=server.command,
                prepare=server.prepare,
                stop_signal=signal.SIGTERM if server is self.redis else signal.SIGINT,
                **common,
            )
            self._add(child, server.name)
            process_manager.start(child)
            server.wait_until_ready()
            if server is self.primary:
                self.primary.make_database()
        if self.pgbouncer:
            child = Child(
                name="pgbouncer",
                command=[self.pgbouncer, str(self.here / "pgbouncer" / "pgbouncer.ini")],
                prepare=self._write_pgbouncer,
                **common | {"patience": 10},
            )
            self._add(child, "pgbouncer")
            process_manager.start(child)

    def start_processes(self) -> None:
        """Workers, web, nginx and beat."""
        environment = dict(os.environ)
        celery = [sys.executable, "-m", "celery", "-A", "kamioi_site"]
        for pool, (queues, size) in self.pools.items():
            command = [*celery, "worker", "-l", "info", "-c", str(size), "-n", f"{pool}@%h", "-Q", queues]
            child = Child(
                name=f"worker-{pool}",
                group="workers",
                command=command,
                environment=environment | {"KAMIOI_WORKER_METRICS_PORT": str(self.ports[f"worker-{pool}"])},
                patience=30,
            )
            self._add(child, "worker")
        for number in self.web_numbers:
            name = f"web-{number}"
            child = Child(
                name=name,
                group="web",
                command=[
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "-c",
                    str(DOCKER / "gunicorn.conf.py"),
                    "kamioi_site.asgi:application",
                ],
                environment=environment
                | {
                    "WEB_BIND": f"127.0.0.1:{self.ports[name]}",
                    "WEB_CONCURRENCY": os.environ.get("WEB_CONCURRENCY", "1"),
                    "WEB_GRACEFUL_TIMEOUT": "10",
                    "FORWARDED_ALLOW_IPS": "127.0.0.1",
                    "PROMETHEUS_MULTIPROC_DIR": str(self.here / "metrics" / name),
                },
                patience=15,
            )
            self._add(child, "web")
        if self.nginx:
            child = Child(
                name="nginx",
                command=[
                    self.nginx,
                    "-e",
                    "stderr",
                    "-c",
                    str(self.here / "nginx" / "nginx.conf"),
                    "-g",
                    "daemon off;",
                ],
                prepare=self._write_nginx,
                owner=self.owner,
                environment=embedded_servers.plain_environment(),
                patience=10,
            )
            self._add(child, "nginx")
        self._add(Child(name="beat", command=[*celery, "beat", "-l", "info", "--pidfile="], patience=5), "beat")
        for child in self.children:
            if child.process is None:
                process_manager.start(child)

    def wait_until_healthy(self) -> None:
        """Until every web process, nginx before them, and every worker answer."""
        webs = [
            f"http://127.0.0.1:{self.ports[child.name]}" for child in self.children if self.kinds[child.name] == "web"
        ]
        urls = [f"{base}/readyz" for base in [*webs, self.address]]
        process_manager.wait_until_healthy(self.children, urls=urls, workers=self.pools, seconds=HEALTHY_TIMEOUT)

    def write_down(self) -> None:
        """Write `cluster.json`: readable by its owner only, for it holds passwords."""
        found = Cluster(
            address=self.address,
            home=str(self.here),
            pid=os.getpid(),
            processes=[
                Process(
                    name=child.name,
                    kind=self.kinds[child.name],
                    pid=child.process.pid if child.process is not None and child.process.poll() is None else None,
                    port=self.ports.get(child.name),
                    starts=child.starts,
                    log=str(child.log),
                )
                for child in self.children
            ],
            environment=self.environment(),
            direct_database_url=self.primary.url,
        )
        embedded_servers.write_private(self.here / "cluster.json", json.dumps(asdict(found), indent=1))

    def _add(self, child: Child, kind: str) -> None:
        self.children.append(child)
        self.kinds[child.name] = kind

    # --- Configuration, by the scripts of the containers ----------------------------------------------------
    def _write_pgbouncer(self) -> None:
        there = self.here / "pgbouncer"
        self._render(
            "pgbouncer",
            {
                "PGBOUNCER_DIR": str(there),
                "PGBOUNCER_DATABASE": embedded_servers.DATABASE_NAME,
                "PGBOUNCER_USER": DATABASE_USER,
                "PGBOUNCER_SERVER_USER": "postgres",
                "PGBOUNCER_PRIMARY_HOST": str(self.primary.socket_directory),
                "PGBOUNCER_REPLICA_HOST": str((self.replica or self.primary).socket_directory),
                "PGBOUNCER_LISTEN_ADDRESS": "127.0.0.1",
                "PGBOUNCER_LISTEN_PORT": str(self.ports["pgbouncer"]),
                "PGBOUNCER_PASSWORD_FILE": str(there / "password"),
                "PGBOUNCER_STATS_PASSWORD_FILE": str(there / "password"),
            },
        )

    def _write_nginx(self) -> None:
        there = self.here / "nginx"
        self._render(
            "nginx",
            {
                "NGINX_DIR": str(there),
                "NGINX_SITE": "plain",
                "NGINX_LISTEN": f"127.0.0.1:{self.ports['nginx']}",
                "NGINX_STATUS_LISTEN": f"127.0.0.1:{self.ports['nginx-status']}",
                "NGINX_UPSTREAM": " ".join(f"127.0.0.1:{self.ports[f'web-{n}']}" for n in self.web_numbers),
                "NGINX_WORKERS": "1",
                "NGINX_TEMP": str(there / "temp"),
                "NGINX_STATIC": str(self.here / "static"),
                "NGINX_ACCESS_LOG": str(self.here / "nginx" / "access.log"),
            },
        )

    def _render(self, name: str, values: Mapping[str, str]) -> None:
        there = self.here / name
        embedded_servers.private_directory(there, self.owner)
        embedded_servers.grant_traverse(there, self.owner)
        if not (there / "password").exists():
            embedded_servers.write_private(there / "password", secrets.token_urlsafe(24), self.owner)
        done = subprocess.run(
            ["/bin/sh", str(DOCKER / name / "render.sh")],
            env=embedded_servers.plain_environment() | dict(values),
            check=False,
            capture_output=True,
            text=True,
            **embedded_servers.as_user(self.owner),
        )
        if done.returncode != 0:
            raise RunError(f"docker/{name}/render.sh failed: {done.stderr.strip()}")


def _program(name: str) -> str | None:
    """Where the program is, /usr/sbin included, which is on nobody's path but root's."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def run(port: int, *, demo: bool, without: Collection[str] = (), small: bool = False) -> int:
    """Start, watch and stop the cluster. Returns the exit code: 0 when somebody asked for the end."""
    os.environ["KAMIOI_HOME"] = str(cluster_home())
    with process_manager.only_run() as here:
        process_manager.kill_by_token(process_manager.last_run(here).get("token", ""))
        (here / "cluster.json").unlink(missing_ok=True)
        if port and process_manager.port_taken("127.0.0.1", port):
            raise RunError(f"Port {port} is taken by another program. Set PORT to another one, or to 0 for any.")
        token = secrets.token_hex(16)
        embedded_servers.write_private(here / "run.json", json.dumps({"token": token}))
        os.environ[process_manager.TOKEN] = token
        for name in ("DATABASE_URL", "REDIS_URL", "REPLICA_URL", "CELERY_BROKER_URL"):
            os.environ.pop(f"{name}_FILE", None)
            os.environ.pop(name, None)
        fleet = _Fleet(here, port or free_port(), without, small=small)
        code = 0
        try:
            process_manager.on_signals(process_manager.ask_to_stop)
            _bring_up(fleet, demo=demo)
            process_manager.watch(fleet.children, fleet.write_down)
        except process_manager.Stop:
            echo("\nStopping (once more: at once) ...")
        except (KamioiError, OSError) as error:
            print(error, file=sys.stderr)
            code = 1
        finally:
            process_manager.on_signals(process_manager.force_stop)
            (here / "cluster.json").unlink(missing_ok=True)
            process_manager.stop(fleet.children)
            process_manager.kill_by_token(token)
            (here / "run.json").unlink(missing_ok=True)
            echo("Stopped.")
    return code


def _bring_up(fleet: _Fleet, *, demo: bool) -> None:
    if fleet.missing:
        echo(f"{' and '.join(fleet.missing)} not found; the cluster runs without. To have it whole: {_INSTALL}")
    names = ["PostgreSQL", "its replica" if fleet.replica else "", "Redis", "PgBouncer" if fleet.pgbouncer else ""]
    echo(f"Starting {', '.join(filter(None, names))} ...")
    fleet.start_servers()
    os.environ.update(fleet.environment())
    echo("Migrating the database ...")
    with _direct(fleet):
        process_manager.manage("migrate", "--noinput")
    process_manager.collect_static(fleet.here)
    if demo:
        load_demo()
    echo(
        f"Starting {fleet.webs} web processes, {len(fleet.pools)} worker pools, beat"
        + (" and nginx ..." if fleet.nginx else " ...")
    )
    fleet.start_processes()
    fleet.wait_until_healthy()
    fleet.write_down()
    echo(f"\nThe cluster runs at {fleet.address}/admin/   (logs: {fleet.here / 'logs'}; Ctrl-C stops it)")
    if demo or (fleet.here / "demo-login.txt").exists():
        process_manager.show_login(fleet.here)
    else:
        echo("Nobody can log in yet: docker/local-cluster exec manage.py createsuperuser, or start with --demo.")


@contextlib.contextmanager
def _direct(fleet: _Fleet) -> Iterator[None]:
    """Past PgBouncer: what changes the schema wants a session of its own."""
    pooled = os.environ["DATABASE_URL"]
    os.environ["DATABASE_URL"] = fleet.primary.url
    try:
        yield
    finally:
        os.environ["DATABASE_URL"] = pooled


def stop() -> int:
    """End the cluster of this home, and what a killed one left behind."""
    os.environ["KAMIOI_HOME"] = str(cluster_home())
    process_manager.stop_other_run()
    echo("Stopped.")
    return 0


def start_in_background(port: int, *, demo: bool, without: Collection[str] = (), small: bool = False) -> int:
    """Start the cluster as a process of its own and return when it is up."""
    here = cluster_home()
    log = here / "cluster.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kamioi_site.local.topology",
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
        if (found := read_cluster(here)) is not None and found.pid == process.pid:
            echo(log.read_text().strip())
            return 0
        time.sleep(0.2)
    print(log.read_text(errors="replace").strip(), file=sys.stderr)
    return process.returncode or 1


def execute(command: Sequence[str]) -> int:
    """Become the command, with the environment of the running cluster; `manage.py …` runs with our Python."""
    found = read_cluster()
    if found is None:
        raise RunError(f"No cluster runs in {cluster_home()}.")
    if command[0] in {"manage.py", "./manage.py"}:
        command = [sys.executable, str(REPOSITORY / "manage.py"), *command[1:]]
    os.execvpe(command[0], list(command), os.environ | found.environment)  # noqa: S606  # a developer's own command


def main(arguments: Sequence[str]) -> int:
    """The commands of `docker/local-cluster`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="docker/local-cluster", description="The topology of production on this machine."
    )
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000), help="0 takes any free one")
    parser.add_argument("--demo", action="store_true", help="load the demo into an empty database")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=["nginx", "pgbouncer", "replica"],
        help="leave it out, to see what it does",
    )
    parser.add_argument("--small", action="store_true", help="two web processes, and one worker pool for every queue")
    parser.add_argument("--stop", action="store_true", help="end the running cluster")
    commands = parser.add_subparsers(dest="command")
    for name, what in {
        "run": "start, in the foreground until Ctrl-C (what no command means, too)",
        "start": "start in the background, return when it is up",
        "stop": "end the running cluster",
        "status": "print cluster.json: pids, ports, addresses; exit code 1 when none runs",
    }.items():
        command = commands.add_parser(name, help=what)
        if name in {"run", "start"}:
            command.add_argument("--demo", action="store_true", default=argparse.SUPPRESS, help="load the demo")
    executed = commands.add_parser(
        "exec", help="run a command with the cluster's environment, e.g. exec manage.py shell"
    )
    executed.add_argument("rest", nargs=argparse.REMAINDER)
    told = parser.parse_args(arguments)
    try:
        if told.stop or told.command == "stop":
            return stop()
        match told.command:
            case "status":
                found = read_cluster()
                print("none runs" if found is None else json.dumps(asdict(found), indent=1))
                return 1 if found is None else 0
            case "exec" if told.rest:
                return execute(told.rest)
            case "exec":
                parser.error("exec needs a command")
            case "start":
                return start_in_background(told.port, demo=told.demo, without=told.without, small=told.small)
            case _:
                return run(told.port, demo=told.demo, without=told.without, small=told.small)
    except KamioiError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
