"""docker/compose.yml: read by Docker's own client, and held against the settings and against its own parts."""

import datetime
import ipaddress
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from tests.docker.manifests import BIN, DOCKER, ROOT, compose

QUEUES = {queue.name for queue in settings.CELERY_TASK_QUEUES}
APP = {"web", "beat", "migrate", *(f"worker-{queue}" for queue in QUEUES)}


def _services() -> dict[str, Any]:
    services: dict[str, Any] = compose()["services"]
    return services


def test_every_queue_has_its_own_pool_and_there_is_one_beat():
    commands = {name: _services()[name]["command"] for name in APP}
    assert {name: command for name, command in commands.items() if name.startswith("worker-")} == {
        f"worker-{queue}": ["worker", queue] for queue in QUEUES
    }
    assert commands["web"] == ["web"]
    assert _services()["web"]["deploy"]["replicas"] == 3
    assert commands["beat"] == ["beat"]
    assert _services()["beat"]["deploy"]["replicas"] == 1


def test_the_topology_is_whole():
    assert {"nginx", "postgres", "replica", "pgbouncer", "redis", "prometheus", "grafana"} <= set(_services())
    exporters = {"postgres-exporter", "redis-exporter", "pgbouncer-exporter", "nginx-exporter", "node-exporter"}
    assert exporters <= set(_services())
    by_profile: dict[str, set[str]] = {"backup": set(), "logs": set(), "citus": set()}
    for name, service in _services().items():
        for profile in service.get("profiles", []):
            by_profile[profile].add(name)
    assert by_profile["backup"] == {"barman"}
    assert {"elasticsearch", "filebeat", "kibana"} <= by_profile["logs"]
    assert {"citus-coordinator", "citus-worker-1", "citus-worker-2"} <= by_profile["citus"]


@pytest.mark.parametrize("name", sorted(APP))
def test_a_process_of_the_application_is_given_what_its_settings_need(name):
    service = _services()[name]
    environment, secrets = service["environment"], {secret["source"] for secret in service["secrets"]}
    files = {key: value for key, value in environment.items() if key.endswith("_FILE") and value}
    for needed in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "METRICS_TOKEN"):
        assert f"{needed}_FILE" in files
    assert {Path(path).name for path in files.values()} == secrets
    assert environment["ALLOWED_HOSTS"] == "kamioi.example"
    assert not re.search(r"password|token|key", " ".join(set(environment) - set(files)), re.IGNORECASE)
    # What a process reads that the compose file sets exists: nothing is misspelled.
    known = _names_the_code_reads() | _names_the_scripts_write()
    assert set(environment) <= known, set(environment) - known


def _names_the_code_reads() -> set[str]:
    """Every variable that the settings, gunicorn's file, the entry point and Kamioi's own code read."""
    names = {"DJANGO_SETTINGS_MODULE", "SENTRY_DSN", "SENTRY_RELEASE", "LOG_FORMAT", "REPLICA_URL", "REPLICA_URL_FILE"}
    names |= {"METRICS_TOKEN", "METRICS_TOKEN_FILE", "KAMIOI_WORKER_METRICS_PORT", "KAMIOI_WORKER_METRICS_HOST"}
    for path in [*ROOT.glob("kamioi_site/**/*.py"), *DOCKER.glob("*.py"), DOCKER / "entrypoint.sh"]:
        text = path.read_text()
        names |= set(re.findall(r"(?:env_\w+|environ\.get)\(\s*\"([A-Z0-9_]+)\"", text))
        names |= {f"{name}_FILE" for name in re.findall(r"env_secret\(\s*\"([A-Z0-9_]+)\"", text)}
        names |= set(re.findall(r"\$\{([A-Z0-9_]+)", text))
    return names


def test_only_the_migration_goes_past_pgbouncer():
    for name in APP - {"migrate"}:
        assert _services()[name]["environment"]["DATABASE_URL_FILE"] == "/run/secrets/database_url"
        assert _services()[name]["environment"]["PGBOUNCER"] == "1"
        assert _services()[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    migrate = _services()["migrate"]
    assert migrate["environment"]["MIGRATION_DATABASE_URL_FILE"] == "/run/secrets/migration_database_url"
    for name in APP - {"migrate"}:
        assert "migration_database_url" not in {secret["source"] for secret in _services()[name]["secrets"]}


def test_a_client_address_comes_from_nginx_alone():
    nginx = _services()["nginx"]
    address = nginx["networks"]["front"]["ipv4_address"]
    assert _services()["web"]["environment"]["FORWARDED_ALLOW_IPS"] == address
    # nginx must speak to the web over that network: a name that only exists there.
    host, _, port = nginx["environment"]["NGINX_UPSTREAM"].partition(":")
    assert host in _services()["web"]["networks"]["front"]["aliases"]
    assert port == "8000"
    on_front = {name for name, service in _services().items() if "front" in (service.get("networks") or {})}
    assert on_front == {"nginx", "web"}
    assert not [name for name in APP if _services()[name].get("ports")]


def test_data_has_no_way_out_and_nothing_but_the_site_is_published():
    networks = compose()["networks"]
    assert networks["data"]["internal"]
    assert networks["monitoring"]["internal"]
    for name in ("postgres", "replica", "redis"):
        assert set(_services()[name]["networks"]) <= {"data", "monitoring"}
    for name, service in _services().items():
        for port in service.get("ports", []):
            assert name == "nginx" or port.get("host_ip") == "127.0.0.1", name


def test_containers_give_up_what_they_do_not_need():
    for name, service in _services().items():
        if service.get("profiles") == ["citus"]:
            continue  # for trying out; the image starts as root
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["restart"] in {"unless-stopped", "no"}, name
        assert "privileged" not in service
        if "logs" not in service.get("profiles", []):
            assert service["read_only"], name
        assert service["logging"]["options"]["max-size"], name


def test_every_image_has_an_exact_tag_and_the_date_of_its_review():
    listed = {row["image"]: row for row in yaml.safe_load((DOCKER / "images.yml").read_text())["images"]}
    used = {service["image"] for service in _services().values()}
    used |= set(re.findall(r"^ARG \w+_IMAGE=(\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    for path in (DOCKER / "k8s").rglob("*.yaml"):
        used |= set(re.findall(r"^\s*-?\s*image: (\S+:\S+)$", path.read_text(), re.MULTILINE))
    own = {image for image in used if image.startswith("kamioi/")}
    assert {image.rpartition(":")[2] for image in own} == {"local"}
    assert used - own == set(listed)
    for image, row in listed.items():
        assert re.search(r":[\w.-]*\d+\.\d+", image), image
        assert isinstance(row["reviewed"], datetime.date), image
        assert row["reviewed"] <= datetime.datetime.now(datetime.UTC).date(), image
        assert row["digest"] is None or re.fullmatch(r"sha256:[0-9a-f]{64}", row["digest"]), image


def test_an_image_is_built_once():
    """Eight services with the same `build` were eight builds side by side where the builder is the old one."""
    built = [service["image"] for service in _services().values() if "build" in service]
    assert sorted(built) == ["kamioi/app:local", "kamioi/barman:local", "kamioi/nginx:local", "kamioi/pgbouncer:local"]
    assert set(built) == {
        service["image"] for service in _services().values() if service["image"].startswith("kamioi/")
    }


def test_a_release_of_the_application_changes_no_other_image():
    text = (DOCKER / "compose.yml").read_text()
    images = dict(re.findall(r"image: kamioi/(\w+):\$\{(\w+):-local\}", text))
    assert images == {
        "app": "KAMIOI_VERSION",
        "nginx": "NGINX_VERSION",
        "pgbouncer": "PGBOUNCER_VERSION",
        "barman": "BARMAN_VERSION",
    }


def _names_the_scripts_write() -> set[str]:
    """What docker/release and docker/failover change in docker/.env."""
    text = "".join((DOCKER / name).read_text() for name in ("release", "failover"))
    return set(re.findall(r"set_setting (\w+) ", text))


@pytest.mark.parametrize("name", sorted(APP))
def test_what_the_scripts_write_into_the_settings_replaces_no_process(name):
    """The application gets docker/.env whole: a changed value would replace all of it at the next `up -d`."""
    assert {_services()[name]["environment"].get(each) for each in _names_the_scripts_write()} == {""}


def test_it_starts_on_a_machine_with_two_processors():
    """Docker refuses a limit of processors above what is there; more of them are for a variable to say."""
    limits = re.findall(r'cpus: "([^"]+)"', (DOCKER / "compose.yml").read_text())
    assert len(limits) > 10
    assert [limit for limit in limits if not limit.startswith("${") and float(limit) > 2] == []
    for name, service in _services().items():
        assert float(service.get("deploy", {}).get("resources", {}).get("limits", {}).get("cpus", 0)) <= 2, name


def test_no_container_is_given_the_address_of_nginx():
    (front,) = compose()["networks"]["front"]["ipam"]["config"]
    address = ipaddress.ip_address(_services()["nginx"]["networks"]["front"]["ipv4_address"])
    assert address in ipaddress.ip_network(front["subnet"])
    assert address not in ipaddress.ip_network(front["ip_range"])
    assert ipaddress.ip_network(front["ip_range"]).num_addresses >= 64  # webs


def test_services_may_open_enough_files():
    for name, service in _services().items():
        if not {"logs", "citus"} & set(service.get("profiles", [])):
            assert service["ulimits"]["nofile"] == {"soft": 65536, "hard": 65536}, name


def test_nothing_is_left_behind_in_nameless_volumes():
    """Each `down` and `up` left them, with passwords in them."""
    volumes = {
        name: [volume for volume in service.get("volumes", []) if volume["type"] == "volume"]
        for name, service in _services().items()
    }
    assert [name for name, rows in volumes.items() for row in rows if not row.get("source")] == []
    # What holds passwords or private files is in memory; uploads are on a disk.
    for name in ("nginx", "web", "pgbouncer", "redis", "postgres", "replica", "grafana"):
        assert any(place.startswith("/tmp:") for place in _services()[name]["tmpfs"]), name
    for name in ("web", "worker-bulk"):
        environment = _services()[name]["environment"]
        assert environment["TMPDIR"] in {row["target"] for row in volumes[name]}
        assert environment["KAMIOI_RUN"] == "/tmp"  # each container's own


def test_the_primary_is_named_in_one_place():
    """Otherwise the next plain `up -d` after a fail-over leads back to the old primary."""
    moved = compose(POSTGRES_PRIMARY="replica", POSTGRES_REPLICA="postgres")["services"]
    for services, primary, replica in ((_services(), "postgres", "replica"), (moved, "replica", "postgres")):
        environment = services["pgbouncer"]["environment"]
        assert (environment["PGBOUNCER_PRIMARY_HOST"], environment["PGBOUNCER_REPLICA_HOST"]) == (primary, replica)
        for name in ("postgres", "replica"):
            assert services[name]["environment"]["SERVER_NAME"] == name
            assert services[name]["environment"]["POSTGRES_PRIMARY"] == primary
        assert services["barman"]["environment"]["POSTGRES_PRIMARY"] == primary
        for name, of in (("postgres-exporter", primary), ("postgres-replica-exporter", replica)):
            assert services[name]["environment"]["DATA_SOURCE_URI"].startswith(f"{of}:5432/")
        # Nothing waits for a server that may be the one that is gone.
        for name, service in services.items():
            if name != "citus-setup":
                assert not {"postgres", "replica"} & set(service.get("depends_on") or {}), name


def documented_settings() -> set[str]:
    """Every variable in the table of docs/operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text().split("## Environment")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", cell)}


# Fixed by the way it runs.
FIXED = {"DJANGO_SETTINGS_MODULE", "KAMIOI_HOME", "PGBOUNCER"}


def test_every_documented_setting_can_be_given_in_one_file(tmp_path):
    names = documented_settings() | {
        "API_RATE_LOGIN",
        "SITE_URL",
        "STATEMENTS_URL",
        "STAFF_NETWORKS",
        "WORKER_MAX_MEMORY_KB",
    }
    assert len(names) > 50
    (tmp_path / "compose.yml").write_text((DOCKER / "compose.yml").read_text())
    (tmp_path / ".env").write_text("".join(f"{name}=given-{name}\n" for name in sorted(names)))
    done = subprocess.run(
        [str(BIN / "docker-compose"), "-f", "compose.yml", "config", "--format", "json"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    for service in APP:
        environment = services[service]["environment"]
        # A secret comes from its file, which is read before the variable.
        missing = {
            name
            for name in names - FIXED
            if environment.get(name) != f"given-{name}" and not environment.get(f"{name}_FILE")
        }
        assert missing == set(), service


def test_a_pool_is_given_the_time_its_tasks_may_take():
    for queue in QUEUES:
        grace = _services()[f"worker-{queue}"]["stop_grace_period"]
        minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(\d+)s", grace).groups()
        assert int(minutes or 0) * 60 + int(seconds) >= settings.CELERY_TASK_TIME_LIMIT + 30


def test_every_mounted_file_exists_or_is_made(tmp_path):
    made = subprocess.run(
        [str(DOCKER / "make-secrets"), "kamioi.example"],
        env={"PATH": "/usr/bin:/bin:/usr/sbin", "SECRETS_DIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "self-signed" in made.stdout
    secrets = compose()["secrets"]
    assert {secret["file"] for secret in secrets.values()} == {f"./secrets/{name}" for name in secrets}
    assert set(secrets) <= {path.name for path in tmp_path.iterdir()}
    assert tmp_path.stat().st_mode & 0o077 == 0
    for name, service in _services().items():
        for secret in service.get("secrets") or []:
            assert secret["source"] in secrets, name
        for volume in service.get("volumes", []):
            if volume["type"] == "bind" and volume["source"].startswith("."):
                assert (DOCKER / volume["source"]).exists(), volume


def test_prometheus_asks_services_that_exist_at_ports_that_answer():
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    ports = {"web": 8000, **{f"worker-{queue}": 9808 for queue in QUEUES}}
    asked: dict[str, Any] = {}
    for job in config["scrape_configs"]:
        for source in job.get("dns_sd_configs", []):
            asked |= dict.fromkeys(source["names"], source["port"])
            if "authorization" in job:
                assert job["authorization"]["credentials_file"] == "/run/secrets/metrics_token"
    assert asked.items() >= ports.items()
    # Everything that measures is asked: a program that sees the whole machine is not run for nothing.
    assert {name for name in _services() if name.endswith("-exporter")} - {"blackbox-exporter"} <= set(asked)
    (certificate,) = [job for job in config["scrape_configs"] if job["job_name"] == "certificate"]
    assert certificate["static_configs"][0]["targets"] == ["nginx:8443"]
    assert certificate["relabel_configs"][-1]["replacement"] == "blackbox-exporter:9115"
    modules = yaml.safe_load((DOCKER / "prometheus" / "blackbox.yml").read_text())["modules"]
    assert set(certificate["params"]["module"]) <= set(modules)
    for name in asked:
        assert "monitoring" in _services()[name]["networks"], name
    worker = _services()["worker-bulk"]["environment"]
    assert worker["KAMIOI_WORKER_METRICS_PORT"] == "9808"
    assert worker["KAMIOI_WORKER_METRICS_HOST"] == "0.0.0.0"
    assert "metrics_token" in {secret["source"] for secret in _services()["prometheus"]["secrets"]}


def test_made_secrets_are_random_stay_and_agree(tmp_path):
    for _ in range(2):
        subprocess.run(
            [str(DOCKER / "make-secrets"), "kamioi.example"],
            env={"PATH": "/usr/bin:/bin:/usr/sbin", "SECRETS_DIR": str(tmp_path)},
            check=True,
            capture_output=True,
        )
        text = {path.name: path.read_text() for path in tmp_path.iterdir()}
        passwords = [
            value
            for name, value in text.items()
            if (name.endswith(("_password", "_token")) and name != "email_password") or name == "secret_key"
        ]
        assert len(set(passwords)) == len(passwords)
        assert min(map(len, passwords)) >= 48
        assert f"//kamioi_app:{text['database_password']}@pgbouncer:6432/kamioi" in text["database_url"]
        assert f"//kamioi_owner:{text['owner_password']}@postgres:5432/kamioi" in text["migration_database_url"]
        assert f":{text['redis_password']}@redis:6379/" in text["redis_url"]
        previous = text
    assert previous == text


def test_the_repository_holds_no_secret():
    ignored = subprocess.run(
        ["git", "check-ignore", "docker/secrets/secret_key"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ignored.returncode == 0


def test_filebeat_reads_what_containers_write():
    config = yaml.safe_load((DOCKER / "logs" / "filebeat.yml").read_text())
    mounted = {volume["target"] for volume in _services()["filebeat"]["volumes"]}
    assert config["filebeat.inputs"][0]["paths"][0].startswith("/var/lib/docker/containers")
    assert "/var/lib/docker/containers" in mounted


def test_a_backup_reports_its_success_to_prometheus(tmp_path):
    """docker/barman/backup.sh with a Barman that does nothing: uploads are kept, the time is published only then."""
    for name, code in (("barman", 0), ("fails", 1)):
        programs = tmp_path / name
        programs.mkdir()
        (programs / "barman").write_text(f'#!/bin/sh\ncase "$*" in *backup*) exit {code} ;; esac\n')
        (programs / "barman").chmod(0o755)
    for place in ("media", "metrics", "home"):
        (tmp_path / place).mkdir(mode=0o700)
    (tmp_path / "media" / "statement.csv").write_text("Date,Amount\n")

    def run(programs: str) -> int:
        return subprocess.run(
            ["/bin/bash", str(DOCKER / "barman" / "backup.sh")],
            env={
                "PATH": f"{tmp_path / programs}:/usr/bin:/bin",
                "BARMAN_HOME": str(tmp_path / "home"),
                "MEDIA": str(tmp_path / "media"),
                "METRICS": str(tmp_path / "metrics"),
            },
            capture_output=True,
            check=False,
        ).returncode

    assert run("fails") != 0
    assert list((tmp_path / "metrics").iterdir()) == []
    assert run("barman") == 0
    (metric,) = re.findall(r"^(\w+) \d+$", (tmp_path / "metrics" / "backup.prom").read_text(), re.MULTILINE)
    assert metric in (DOCKER / "prometheus" / "rules" / "alerts.yml").read_text()
    assert (tmp_path / "metrics").stat().st_mode & 0o777 == 0o755  # node-exporter is another user
    (kept,) = (tmp_path / "home" / "media").glob("*.tar.gz")
    listed = subprocess.run(["tar", "-tzf", str(kept)], capture_output=True, text=True, check=True).stdout
    assert "./statement.csv" in listed
    node, barman = _services()["node-exporter"], _services()["barman"]
    assert "--collector.textfile.directory=/metrics" in node["command"]
    for service in (node, barman):
        assert ("metrics", "/metrics") in {(row.get("source"), row["target"]) for row in service["volumes"]}
