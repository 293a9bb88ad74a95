"""`make restore-drill`: a table is dropped while purchases come in, and everything is restored to the second before.

On dedicated embedded servers, with the configuration of the containers (`docker/barman/`): the demo is loaded and its
books are sealed, Barman takes a base backup and receives the WAL, purchases are booked the whole time, a table is
dropped, the backup is restored to the second before into another server, and the books are verified there, seals
included. It prints how long that took and what was lost, and ends with 1 when anything is missing or wrong.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker.local.process_manager import echo
from kamioi_site.errors import KamioiError
from kamioi_site.local import system
from kamioi_site.local.embedded_servers import REPOSITORY
from kamioi_site.local.servers import EmbeddedPostgres, EmbeddedRedis

BARMAN_VERSION = "3.19.1"  # as in docker/Dockerfile
_TABLE = "holdings"
# Books a purchase again and again; a line for each that is committed: its number and the server's time.
_PURCHASES = """
import json, sys, time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from django.db import connection
from transactions.models import Merchant, Transaction, TransactionKey, User
from transactions.services.processing import process_pending
user = User.objects.filter(is_staff=False, is_active=True).order_by("pk").first()
merchant = Merchant.objects.filter(status="approved", ticker__isnull=False).order_by("pk").first()
for number in range(100_000):
    row = Transaction.objects.create(
        user=user, merchant=merchant.display_name, merchant_key=merchant.merchant_key, amount=Decimal("1.25"),
        total_debit=Decimal("1.25"), date=datetime.now(UTC) - timedelta(hours=1),
    )
    TransactionKey.objects.create(transaction_id=row.pk, user=user, date=row.date, idempotency_key=f"drill:{row.pk}")
    process_pending()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        print(json.dumps([row.pk, float(cursor.fetchone()[0])]), flush=True)
    time.sleep(0.1)
"""
# The demo as of two days ago, so that complete days can be sealed.
_LOAD = """
from datetime import UTC, datetime, timedelta
import time_machine
from django.core.management import call_command
with time_machine.travel(datetime.now(UTC) - timedelta(days=2), tick=True):
    call_command("load_demo")
"""
_SEAL = "from transactions.tasks import seal_ledger; print(seal_ledger())"


class DrillError(KamioiError):
    """The drill failed."""


@dataclass(frozen=True, kw_only=True)
class DrillResult:
    """What a drill measured; times in seconds."""

    backup_seconds: float
    restore_seconds: float
    lost_seconds: float
    seals: int
    booked: int
    lost: int


class _Barman:
    """Barman with the configuration of the containers, run as this user: the servers' user may not reach its Python."""

    def __init__(self, here: Path, program: Path, server: EmbeddedPostgres) -> None:
        self.home, self.directory, self.locks = here / "barman", here / "barman-conf", here / "barman-locks"
        for place in (self.home, self.directory, self.locks):
            system.private_directory(place, None)
        self.program = program
        self.environment = system.plain_environment() | {
            "PATH": f"{program.parent}:{server.binaries}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "BARMAN_DIR": str(self.directory),
            "BARMAN_HOME": str(self.home),
            "BARMAN_LOCKS": str(self.locks),
            "BARMAN_LOG": str(self.home / "barman.log"),
            "BARMAN_PROGRAMS": str(server.binaries),
            "BACKUP_HOST": str(server.socket_directory),
            "BACKUP_USER": "barman",
            "BACKUP_COMPRESSION": "none",  # the embedded server's programs know no compression
        }
        self._run("/bin/bash", str(REPOSITORY / "docker" / "barman" / "render.sh"))

    def __call__(self, *arguments: str) -> str:
        """Run one command of Barman; its output."""
        return self._run(str(self.program), "-c", str(self.directory / "barman.conf"), *arguments)

    def restore(self, data: Path, *target: str) -> None:
        """Restore the latest backup into this directory, with all that was received."""
        self._run("/bin/bash", str(REPOSITORY / "docker" / "barman" / "restore.sh"), "latest", str(data), *target)

    def _run(self, *command: str) -> str:
        # Barman's own children outlive the command: they may not hold a pipe.
        with tempfile.TemporaryFile("w+") as output:
            code = subprocess.run(
                command,
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
            output.seek(0)
            text = output.read()
        if code != 0:
            raise DrillError(f"{Path(command[0]).name} {' '.join(command[-3:])} failed ({code}):\n{text}")
        return text

    def wait_for_stream(self) -> None:
        """Start receiving the WAL, and wait until it comes."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self("cron")
            with contextlib.suppress(DrillError):
                self("switch-wal", "--force", "--archive", "--archive-timeout", "10", "kamioi")
                return
        raise DrillError(f"Barman receives no WAL: {self('check', 'kamioi')}")


def run(here: Path, barman_program: Path, *, seconds: float) -> DrillResult:
    """Run the drill in an empty directory, with purchases for that long before the accident. Raises DrillError."""
    server, redis = EmbeddedPostgres(here, {"max_wal_senders": "8"}), EmbeddedRedis(here)
    copy = EmbeddedPostgres(here / "restored")
    try:
        server.start()
        redis.start()
        environment = _environment(here, server, redis)
        echo("Loading the demo and sealing its books ...")
        _manage(environment, "migrate", "--noinput")
        _manage(environment, "shell", "-v", "0", "-c", _LOAD)
        seals = int(_manage(environment, "shell", "-v", "0", "-c", _SEAL).split()[-1])
        if not seals:
            raise DrillError("No day was sealed.")
        barman = _prepare_barman(here, barman_program, server)
        with _purchases(environment) as booked:
            _wait(lambda: len(booked()) >= 3, "the first purchases are booked")
            echo("Taking a base backup while purchases come in ...")
            started = time.monotonic()
            barman("backup", "--wait", "kamioi")
            backup_seconds = time.monotonic() - started
            time.sleep(seconds)
            target = _server_time(server) - 1
            _drop_table(server)
            accident = _server_time(server)
            echo(f"The table {_TABLE} is dropped. Restoring to the second before ...")
        started = time.monotonic()
        # The last of the WAL; with the primary lost, what pg_receivewal has of it.
        barman("switch-wal", "--force", "--archive", "--archive-timeout", "60", "kamioi")
        moment = datetime.fromtimestamp(target, UTC).isoformat(sep=" ")
        _restore(barman, copy, moment)
        restored = _environment(here, copy, redis)
        found = set(_ids(copy))
        verified = _manage(restored, "verify_ledger", "--all", "--seals", str(here / "seals.jsonl"))
        restore_seconds = time.monotonic() - started
        echo(verified.strip())
        lost = _lost(booked(), found, target)
        return DrillResult(
            backup_seconds=backup_seconds,
            restore_seconds=restore_seconds,
            lost_seconds=accident - target,
            seals=seals,
            booked=len(booked()),
            lost=lost,
        )
    finally:
        for each in (copy, server, redis):
            each.stop()
        _end_leftovers(here)


def _environment(here: Path, server: EmbeddedPostgres, redis: EmbeddedRedis) -> dict[str, str]:
    return {
        **os.environ,
        "KAMIOI_HOME": str(here),
        "DJANGO_SETTINGS_MODULE": "kamioi_site.settings.dev",
        "DATABASE_URL": server.url,
        "MIGRATION_DATABASE_URL": server.owner_url,
        "REDIS_URL": redis.url,
        "REPLICA_URL": "",
    }


def _manage(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DrillError(f"manage.py {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def _purchases(environment: dict[str, str]) -> Iterator[Callable[[], list[tuple[int, float]]]]:
    """Book purchases in another process; yields a function that returns the number and time of each."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", _PURCHASES],
            cwd=REPOSITORY,
            env=environment,
            stdout=output,
            stderr=errors,
        )

        def booked() -> list[tuple[int, float]]:
            if output.closed:
                return last
            output.seek(0)
            lines = [line for line in output.read().splitlines() if line.endswith("]")]
            if process.poll() not in {None, 0} and not lines:
                errors.seek(0)
                raise DrillError(f"The purchases failed:\n{errors.read()[-2000:]}")
            return [(row[0], row[1]) for row in map(json.loads, lines)]

        last: list[tuple[int, float]] = []
        try:
            yield booked
        finally:
            process.terminate()
            process.wait(30)
            last = booked()


def _prepare_barman(here: Path, program: Path, server: EmbeddedPostgres) -> _Barman:
    with contextlib.closing(server.connect("kamioi")) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE barman LOGIN REPLICATION")
        # As docker/postgres/init.sh.
        cursor.execute("GRANT pg_read_all_settings, pg_read_all_stats, pg_checkpoint TO barman")
        cursor.execute(
            "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean), pg_switch_wal(),"
            " pg_create_restore_point(text) TO barman"
        )
    barman = _Barman(here, program, server)
    barman.wait_for_stream()
    return barman


def _server_time(server: EmbeddedPostgres) -> float:
    with contextlib.closing(server.connect("kamioi")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return float(cursor.fetchone()[0])


def _drop_table(server: EmbeddedPostgres) -> None:
    with contextlib.closing(server.connect("kamioi")) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {_TABLE} CASCADE")


def _restore(barman: _Barman, copy: EmbeddedPostgres, moment: str) -> None:
    owner = system.server_owner()
    copy.directory.mkdir(parents=True)
    system.grant_traverse(copy.directory, owner)
    barman.restore(copy.data, "--target-time", moment, "--target-action", "promote")
    if owner is not None:
        for path in (copy.directory, *copy.directory.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    copy.start()
    _wait(lambda: _is_primary(copy), "the copy has replayed the WAL")


def _is_primary(server: EmbeddedPostgres) -> bool:
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        return not cursor.fetchone()[0]


def _ids(server: EmbeddedPostgres) -> list[int]:
    with contextlib.closing(server.connect("kamioi")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT transaction_id FROM transaction_keys WHERE idempotency_key LIKE 'drill:%'")
        return [row[0] for row in cursor.fetchall()]


def _lost(booked: Sequence[tuple[int, float]], found: set[int], target: float) -> int:
    """How many purchases are gone; raises DrillError when one of them is from before the chosen moment."""
    missing = [number for number, moment in booked if moment <= target and number not in found]
    if missing:
        raise DrillError(f"{len(missing)} purchases from before the accident are missing, such as {missing[0]}.")
    return sum(number not in found for number, _ in booked)


def _wait(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DrillError(f"Waited in vain until {what}.")
        time.sleep(0.2)


def _end_leftovers(here: Path) -> None:
    """End Barman's receivers, which are orphans."""
    import psutil  # noqa: PLC0415

    for process in psutil.process_iter():
        line = system.command_line(process.pid)
        if str(here) in line and ("pg_receivewal" in line or "receive-wal" in line):
            with contextlib.suppress(psutil.Error):
                process.terminate()


def main(arguments: Sequence[str]) -> int:
    """Run the drill; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make restore-drill", description=__doc__.split("\n\n")[1])
    parser.add_argument("--barman", type=Path, required=True, help="Barman's program")
    parser.add_argument("--seconds", type=float, default=5, help="of purchases after the backup (default 5)")
    options: Any = parser.parse_args(list(arguments))
    here = Path(tempfile.mkdtemp(prefix="kamioi-drill-"))
    try:
        system.grant_traverse(here, system.server_owner())
        result = run(here, options.barman.absolute(), seconds=options.seconds)
    except KamioiError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(here, ignore_errors=True)
    echo(
        f"Restored: {result.booked - result.lost} of {result.booked} purchases of the drill. The {result.lost}"
        f" after the chosen moment, {result.lost_seconds:.1f} s before the table was gone, are lost.\n"
        f"The books are right, and so are the {result.seals} seals.\n"
        f"Base backup {result.backup_seconds:.1f} s; restore, recovery and verification {result.restore_seconds:.1f} s."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
