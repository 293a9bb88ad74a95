"""docker/release, restore and failover with a Docker that writes down what it is commands, and answers from a table."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docker.manifests import DOCKER

Run = Callable[..., subprocess.CompletedProcess[str]]
# Answers: lines of `pattern=text`; the first one whose pattern is in the command is printed. `fail` as text fails,
# `a|b` is `a` the first time and `b` later.
STUB = """#!/bin/sh
echo "$*" | sed 's|compose -f [^ ]*compose.yml|compose|' | tr '\\n' ' ' >>"$LOG"; echo >>"$LOG"
while IFS== read -r pattern text; do
	case "$*" in *"$pattern"*) ;; *) continue ;; esac
	[ "$text" != fail ] || exit 1
	if [ -e "$LOG.asked" ]; then text=${text#*|}; else text=${text%|*}; fi
	case $pattern in pg_is*) touch "$LOG.asked" ;; esac
	printf '%s\\n' $text
	exit 0
done <"$ANSWERS"
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script; what Docker was commands is in `tmp_path/log`, the settings are in `tmp_path/settings`."""
    stub = tmp_path / "docker"
    stub.write_text(STUB)
    stub.chmod(0o755)
    (tmp_path / "log").touch()
    (tmp_path / "settings").write_text("ALLOWED_HOSTS=kamioi.example\nKAMIOI_VERSION=1\n")

    def call(name: str, *arguments: str, answers: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "answers").write_text(answers)
        environment = {"PATH": os.environ["PATH"], "DOCKER": str(stub), "LOG": str(tmp_path / "log")}
        environment |= {"ANSWERS": str(tmp_path / "answers"), "SETTINGS": str(tmp_path / "settings")}
        environment |= {"SECRETS_DIR": str(tmp_path / "secrets")}
        return subprocess.run(
            [str(DOCKER / name), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def _commands(tmp_path: Path) -> list[str]:
    return [line.strip() for line in (tmp_path / "log").read_text().splitlines()]


def _before(commands: list[str], first: str, second: str) -> bool:
    """Whether some command with `first` comes before every one with `second`."""
    places = [[number for number, line in enumerate(commands) if word in line] for word in (first, second)]
    assert all(places), (first, second, commands)
    return places[0][0] < places[1][0]


@pytest.mark.parametrize("name", ["release", "backup", "restore", "failover"])
def test_help_describes_a_script_and_changes_nothing(run, tmp_path, name):
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"docker/{name}" in done.stdout
    assert "set -eu" not in done.stdout
    assert run(name, "--nonsense").returncode == 2
    assert _commands(tmp_path) == []


def test_a_release_migrates_first_doubles_the_webs_and_ends_the_old_ones_one_by_one(run, tmp_path):
    done = run("release", "2", "--pause", "0", answers="ps -q web=old1 old2 old3\n")
    assert done.returncode == 0, done.stderr
    commands = _commands(tmp_path)
    assert _before(commands, "run --rm --no-deps migrate", "--scale web=6 --wait web")
    assert _before(commands, "--scale web=6 --wait web", "stop -t 40")
    ended = [line for line in commands if line.startswith(("stop -t 40", "rm -v"))]
    assert ended == [f"{what} {web}" for web in ("old1", "old2", "old3") for what in ("stop -t 40", "rm -v")]
    assert _before(commands, "rm -v old3", "--scale web=3 web")
    assert _before(commands, "--scale web=3 web", "worker-transactions")
    # What everybody's connections and requests go through stays.
    started = [line for line in commands if " up " in line]
    assert all("--no-deps" in line for line in started)
    assert not [line for line in started if any(name in line for name in ("pgbouncer", "nginx", "postgres", "redis"))]
    assert "KAMIOI_VERSION=2" in (tmp_path / "settings").read_text()


def test_nginx_is_released_last_and_alone_when_that_is_asked_for(run, tmp_path):
    assert run("release", "2", "--nginx", "7", "--pause", "0", answers="ps -q web=old1\n").returncode == 0
    assert _commands(tmp_path)[-1] == "compose up -d --no-deps --wait nginx"
    assert "NGINX_VERSION=7" in (tmp_path / "settings").read_text()


@pytest.mark.parametrize(
    ("answers", "never"),
    [
        ("image inspect=fail\npull=fail\nps -q web=old1\n", "migrate"),
        ("ps -q web=\n", "run --rm"),
        ("run --rm --no-deps migrate=fail\nps -q web=old1\n", "--scale"),
        ("--wait web=fail\nps -q web=old1\nps -aq web=old1 new1\n", "stop -t 40"),
    ],
    ids=["no image", "nothing runs", "migration fails", "new webs are not healthy"],
)
def test_a_release_that_fails_leaves_the_old_webs_alone(run, tmp_path, answers, never):
    done = run("release", "2", "--pause", "0", answers=answers)
    assert done.returncode != 0
    commands = _commands(tmp_path)
    assert not [line for line in commands if never in line and "pull" not in line]
    assert not [line for line in commands if line.startswith("rm") and "old1" in line]
    assert "KAMIOI_VERSION=1" in (tmp_path / "settings").read_text()
    if "new1" in answers:
        assert "rm -f -v new1" in commands


STANDBY = "pg_promote=t\npg_last_xact=2026-11-28\nState.Running=false\nps -aq postgres=c0ffee\n"


def _failover(
    run: Run, *arguments: str, running: str = "false", recovery: str = "t|f"
) -> subprocess.CompletedProcess[str]:
    answers = STANDBY.replace("State.Running=false", f"State.Running={running}")
    return run("failover", *arguments, answers=f"pg_is_in_recovery={recovery}\n{answers}")


def test_the_old_primary_is_fenced_before_the_replica_is_promoted(run, tmp_path):
    done = _failover(run, "--yes", recovery="t|f")
    assert done.returncode == 0, done.stderr
    commands = _commands(tmp_path)
    assert _before(commands, "stop -t 30 postgres", "pg_promote")
    assert _before(commands, "inspect -f {{.State.Running}} c0ffee", "pg_promote")
    assert _before(commands, "rm -v c0ffee", "pg_promote")
    # The new primary is rebuilt with its new role, then PgBouncer leads there; the old one is not started.
    assert _before(commands, "pg_promote", "--wait replica")
    assert _before(commands, "--wait replica", "--wait pgbouncer")
    assert not [line for line in commands if " up " in line and line.endswith(" postgres")]
    settings = (tmp_path / "settings").read_text()
    assert "POSTGRES_PRIMARY=replica" in settings
    assert "POSTGRES_REPLICA=postgres" in settings
    assert "@replica:5432/" in (tmp_path / "secrets" / "migration_database_url").read_text()


def test_a_server_that_follows_no_primary_is_not_promoted(run, tmp_path):
    done = _failover(run, "--yes", recovery="f")
    assert done.returncode != 0
    assert "follows no server" in done.stderr
    assert not [line for line in _commands(tmp_path) if "stop" in line]


def test_nothing_is_promoted_while_the_old_primary_runs(run, tmp_path):
    done = _failover(run, "--yes", running="true")
    assert done.returncode != 0
    assert "still runs: nothing was promoted" in done.stderr
    assert not [line for line in _commands(tmp_path) if "pg_promote" in line]
    assert "POSTGRES_PRIMARY" not in (tmp_path / "settings").read_text()


@pytest.mark.parametrize(
    ("script", "arguments", "answers"),
    [
        ("failover", (), "pg_is_in_recovery=t\n"),
        ("failover", ("rebuild",), "pg_is_in_recovery=f\n"),
        ("restore", ("2026-11-28 05:00:00+00",), ""),
    ],
)
def test_nothing_is_destroyed_without_a_confirmation(run, tmp_path, script, arguments, answers):
    done = run(script, *arguments, answers=answers)
    assert done.returncode != 0
    assert "Not confirmed" in done.stderr
    assert not [line for line in _commands(tmp_path) if any(word in line for word in (" stop", " rm", " run", " up "))]


def test_a_restore_keeps_the_data_and_starts_the_site_only_with_right_books(run, tmp_path):
    done = run(
        "restore",
        "2026-11-28 05:00:00+00",
        "--yes",
        answers="pg_is_in_recovery=f\nverify_ledger=fail\nswitch-wal=fail\n",
    )
    assert done.returncode != 0
    assert "The books are not right: the site stays stopped." in done.stderr
    commands = _commands(tmp_path)
    assert commands[-1] == "compose run --rm --no-deps migrate manage verify_ledger --all"
    assert _before(commands, "stop nginx web", "--entrypoint /bin/bash")
    # A replica made of it would stop at the same moment.
    for name in ("restore_command", "recovery_target_time", "recovery_target_action"):
        assert _before(commands, f"ALTER SYSTEM RESET {name}", "verify_ledger")
    (restored,) = [line for line in commands if "--entrypoint /bin/bash" in line]
    assert 'mv "$data" "$data.before-$now"' in restored
    assert "--target-time 2026-11-28 05:00:00+00 --target-action promote" in restored
    # PostgreSQL fetches the WAL from the path to which Barman restored.
    assert "-v kamioi_postgres:/var/lib/postgresql " in restored
    assert "data=/var/lib/postgresql/18/main" in restored
    assert '/etc/kamioi/restore.sh "$backup" "$data" "$@"' in restored
    # The verification goes through PgBouncer; nothing else is started.
    assert _before(commands, "--wait redis pgbouncer", "migrate --check")
    started = " ".join(line for line in commands if " up " in line)
    assert not re.search("web|nginx|worker|beat", started)


def test_after_a_restore_barman_follows_the_new_history(run, tmp_path):
    """What it received last is not in the restored server's history: without a reset it receives nothing any more."""
    done = run("restore", "latest", "--yes", answers="pg_is_in_recovery=f\n")
    assert done.returncode == 0, done.stderr
    commands = _commands(tmp_path)
    assert _before(commands, "verify_ledger --all", "receive-wal --reset kamioi")
    assert _before(commands, "receive-wal --reset kamioi", "/etc/kamioi/backup.sh")
    assert not [line for line in commands if "--target-time" in line]


def test_erasures_are_replayed_before_the_site_starts_and_do_not_stop_it(run, tmp_path):
    assert run("restore", "latest", "--yes", answers="pg_is_in_recovery=f\nreplay_erasures=fail\n").returncode == 0
    commands = _commands(tmp_path)
    assert _before(commands, "verify_ledger --all", "replay_erasures")
    (replayed,) = [number for number, line in enumerate(commands) if "replay_erasures" in line]
    assert commands.index("compose up -d") > replayed  # all of it; single services before


def test_a_moment_without_its_zone_is_refused(run, tmp_path):
    done = run("restore", "2026-11-28 05:00:00", "--yes")
    assert "needs a time zone" in done.stderr
    assert _commands(tmp_path) == []


def test_a_server_that_cannot_replay_ends_the_restore(run, tmp_path):
    done = run("restore", "2026-11-28 05:00:00+00", "--yes", answers="pg_is_in_recovery=fail\nRestartCount=3\n")
    assert done.returncode != 0
    assert "PostgreSQL does not start" in done.stderr
    assert not [line for line in _commands(tmp_path) if "verify_ledger" in line]


@pytest.mark.parametrize("folder", ["barman_wal", "pg_wal"])
def test_a_restore_uses_what_was_received_of_the_last_segment(tmp_path, folder):
    """The primary is gone: its last purchases are in a segment that never became full."""
    programs, home, data = tmp_path / "bin", tmp_path / "home", tmp_path / "data"
    for place in (programs, home / "kamioi" / "streaming"):
        place.mkdir(parents=True)
    (home / "kamioi" / "streaming" / "00000001000000000000000C.partial").write_text("last")
    (home / "kamioi" / "streaming" / "00000001000000000000000B.partial").write_text("old")
    (programs / "barman").write_text(
        f'#!/bin/sh\ncase "$*" in *restore*) mkdir -p {data}/pg_wal {data}/{folder}\n'
        f"echo full >{data}/{folder}/00000001000000000000000B ;; esac\n"
    )
    (programs / "barman").chmod(0o755)
    subprocess.run(
        ["/bin/bash", str(DOCKER / "barman" / "restore.sh"), "latest", str(data)],
        env={"PATH": f"{programs}:/usr/bin:/bin", "BARMAN_HOME": str(home)},
        check=True,
    )
    found = {path.name: path.read_text().strip() for path in (data / folder).iterdir()}
    assert found == {"00000001000000000000000C": "last", "00000001000000000000000B": "full"}


# --- Which server serves ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("server", "primary", "data", "serves"),
    [
        ("postgres", "postgres", None, "docker-entrypoint.sh"),
        ("postgres", "postgres", "primary", "docker-entrypoint.sh"),
        ("replica", "postgres", None, "pg_basebackup"),
        ("replica", "postgres", "standby", "postgres"),
        ("replica", "replica", "primary", "docker-entrypoint.sh"),
        ("postgres", "replica", None, "pg_basebackup"),
        # The old primary after a fail-over, whatever starts it.
        ("postgres", "replica", "primary", "sleep"),
        # A primary whose data is gone makes no empty database; one that still follows is not promoted by a setting.
        ("replica", "replica", None, "sleep"),
        ("postgres", "postgres", "standby", "sleep"),
    ],
)
def test_one_server_is_the_primary_and_an_old_one_never_serves(tmp_path, server, primary, data, serves):
    pgdata = tmp_path / "pg" / "main"
    if data:
        pgdata.mkdir(parents=True)
        (pgdata / "PG_VERSION").write_text("18\n")
        if data == "standby":
            (pgdata / "standby.signal").touch()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker-entrypoint.sh", "postgres", "pg_basebackup", "sleep"):
        made = f'mkdir -p "{pgdata}.new"; ' if name == "pg_basebackup" else ""
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@"\n{made}')
        (programs / name).chmod(0o755)
    script = (DOCKER / "postgres" / "server.sh").read_text()
    assert "/run/secrets/replication_password" in script
    (tmp_path / "password").write_text("secret")
    script = script.replace("/run/secrets/replication_password", str(tmp_path / "password"))
    script = script.replace("passfile=/tmp/pgpass", f"passfile={tmp_path}/pgpass")
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            "PGDATA": str(pgdata),
            "SERVER_NAME": server,
            "POSTGRES_PRIMARY": primary,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == serves
    if serves == "pg_basebackup":
        assert f"-S {server}" in done.stdout
        assert f"host={primary} " in done.stdout
