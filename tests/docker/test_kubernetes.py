"""docker/k8s: built by kustomize, validated against the Kubernetes schemas, the settings and each other."""

import os
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from django.conf import settings
from kombu.transport.redis import Channel

from tests.docker.manifests import DOCKER, kubernetes, of_kind, plain_name, pods
from tests.docker.test_compose import _names_the_code_reads, documented_settings

OVERLAYS = ("dev", "prod", "ingress", "cnpg")
QUEUES = {queue.name for queue in settings.CELERY_TASK_QUEUES}
POOLS = {f"worker-{queue}" for queue in QUEUES}
APP = {"web", "beat", "migrate", *POOLS}
VERSION = "1.34"
# Kinds of operators: their schemas are not part of Kubernetes.
CUSTOM = {"ScaledObject", "TriggerAuthentication", "ExternalSecret", "Certificate", "PodMonitor"}
CUSTOM |= {"Cluster", "ObjectStore", "ScheduledBackup"}  # CloudNativePG and its plug-in


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_valid(overlay):
    seen = set()
    for item in kubernetes(overlay):
        if item["kind"] not in CUSTOM:
            kubernetes_validate.validate(item, VERSION, strict=True)
        key = (item["kind"], item["metadata"]["name"])
        assert key not in seen
        seen.add(key)
        assert item["kind"] == "Namespace" or item["metadata"]["namespace"] == "kamioi"


def test_the_check_of_objects_would_see_a_mistake():
    item = dict(of_kind("prod", "Deployment")["web"])
    item["spec"] = {**item["spec"], "replica": 3}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_queue_has_its_pool_and_there_is_one_beat(overlay):
    commands = {name: spec["containers"][0]["args"] for name, spec in pods(overlay).items() if name in APP}
    assert commands == {
        "web": ["web"],
        "beat": ["beat"],
        "migrate": ["migrate"],
        **{f"worker-{queue}": ["worker", queue] for queue in QUEUES},
    }
    beat = of_kind(overlay, "Deployment")["beat"]["spec"]
    assert beat["replicas"] == 1
    assert beat["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_processes_are_given_what_their_settings_need(overlay):
    known = _names_the_code_reads()
    config = of_kind(overlay, "ConfigMap")["kamioi"]["data"]
    assert set(config) <= known, set(config) - known
    assert config["DJANGO_SETTINGS_MODULE"] == "kamioi_site.settings.prod"
    for name in APP:
        container = pods(overlay)[name]["containers"][0]
        named = of_kind(overlay, "ConfigMap")["kamioi"]["metadata"]["name"]
        assert named.startswith("kamioi-")  # with a hash: a change restarts the pods
        assert container["envFrom"] == [{"configMapRef": {"name": named}}]
        environment = {row["name"]: row["value"] for row in container["env"]}
        assert set(environment) <= known
        for needed in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "METRICS_TOKEN"):
            assert environment[f"{needed}_FILE"].startswith("/run/secrets/kamioi/")
        assert environment["DATABASE_URL_FILE"] == "/run/secrets/kamioi/database_url"
        assert ("MIGRATION_DATABASE_URL_FILE" in environment) == (name == "migrate")
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/run/secrets/kamioi", "/tmp"} <= mounted
        # Any documented setting can be given in the ConfigMap: pods override only secrets.
        assert not documented_settings() & set(environment)
        # What is uploaded is read by the pools; the rest has no use for it.
        assert ("/var/lib/kamioi/media" in mounted) == (name == "web" or name in POOLS)


def test_the_secret_has_every_key_that_is_asked_for(tmp_path):
    asked: dict[str, set[str]] = {overlay: set() for overlay in OVERLAYS}
    for overlay in OVERLAYS:
        for spec in pods(overlay).values():
            for row in spec["containers"][0].get("env", []):
                if row["name"].endswith("_FILE"):
                    asked[overlay].add(row["value"].rpartition("/")[2])
            for volume in spec["volumes"]:
                if volume.get("secret", {}).get("secretName") == "kamioi":
                    asked[overlay] |= {item["key"] for item in volume["secret"].get("items", [])}
                    assert volume["secret"]["items"], "the whole Secret is mounted"
        for authentication in of_kind(overlay, "TriggerAuthentication").values():
            asked[overlay] |= {row["key"] for row in authentication["spec"]["secretTargetRef"]}
    given = {row["secretKey"] for row in of_kind("prod", "ExternalSecret")["kamioi"]["spec"]["data"]}
    assert asked["prod"] == given
    script = (DOCKER / "make-secrets").read_text()
    assert {name for name in asked["dev"] | given if not re.search(rf"\b{name}\b", script)} == set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_may_do_nothing_they_do_not_need(overlay):
    for name, spec in pods(overlay).items():
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name
            # A tag that changes is not the image that was tested.
            assert re.search(r":(local|[\w.-]*\d+\.\d+[\w.-]*)$", container["image"]), name
    labels = of_kind(overlay, "Namespace")["kamioi"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_end_with_time_for_what_they_hold(overlay):
    for name in POOLS:
        assert pods(overlay)[name]["terminationGracePeriodSeconds"] >= settings.CELERY_TASK_TIME_LIMIT + 30
    web = pods(overlay)["web"]
    config = of_kind(overlay, "ConfigMap")["kamioi"]["data"]
    pause = web["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert web["terminationGracePeriodSeconds"] >= pause + int(config["WEB_GRACEFUL_TIMEOUT"]) + 5


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ports_and_services_agree(overlay):
    web = pods(overlay)["web"]["containers"][0]
    assert web["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for name in POOLS | {"beat"}:
        assert (
            pods(overlay)[name]["containers"][0]["livenessProbe"]["exec"]["command"][0] == "/app/docker/entrypoint.sh"
        )
    services = of_kind(overlay, "Service")
    for name, service in services.items():
        if name == "nothing":
            continue
        pod = service["spec"]["selector"]["app.kubernetes.io/name"]
        assert pod == ("web" if name == "web-pods" else name)
        named = {port["name"]: port["containerPort"] for port in pods(overlay)[pod]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(named)
    for ingress in of_kind(overlay, "Ingress").values():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                assert backend["port"]["name"] in {port["name"] for port in services[backend["name"]]["spec"]["ports"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pools_follow_every_list_of_their_queue(overlay):
    scaled = of_kind(overlay, "ScaledObject")
    assert set(scaled) == POOLS
    steps = settings.CELERY_BROKER_TRANSPORT_OPTIONS["priority_steps"]
    for queue in QUEUES:
        spec = scaled[f"worker-{queue}"]["spec"]
        assert spec["scaleTargetRef"]["name"] == f"worker-{queue}"
        lists = [trigger["metadata"]["listName"] for trigger in spec["triggers"]]
        assert lists == [queue if step == 0 else f"{queue}{Channel.sep}{step}" for step in steps]
        assert all(trigger["authenticationRef"] == {"name": "redis"} for trigger in spec["triggers"])
        assert 0 < spec["minReplicaCount"] <= spec["maxReplicaCount"]
        # An autoscaled pool has no fixed number of replicas.
        assert "replicas" not in of_kind(overlay, "Deployment")[f"worker-{queue}"]["spec"]
    web = of_kind(overlay, "HorizontalPodAutoscaler")["web"]["spec"]
    assert web["scaleTargetRef"]["name"] == "web"
    assert "replicas" not in of_kind(overlay, "Deployment")["web"]["spec"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_drained_nodes_take_away_one_pod_at_a_time(overlay):
    budgets = of_kind(overlay, "PodDisruptionBudget")
    own = {"nginx"} if overlay != "ingress" else set()
    assert set(budgets) == {"web", "pgbouncer", "alertmanager", *POOLS, *own}
    for name, budget in budgets.items():
        assert budget["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": name}
        assert budget["spec"]["maxUnavailable"] == 1  # a minimum would keep a node with the only one from draining
    for name in set(budgets):
        keys = {row["topologyKey"] for row in pods(overlay)[name]["topologySpreadConstraints"]}
        assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_is_shut_but_for_what_is_needed(overlay):
    policies = of_kind(overlay, "NetworkPolicy")
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    def may(direction: str, name: str) -> set[int]:
        """The ports that a pod of that name may reach, or be reached at."""
        found: set[int] = set()
        for policy in policies.values():
            if _selects(policy["spec"]["podSelector"], name):
                for rule in policy["spec"].get(direction, []):
                    found |= {port["port"] for port in rule["ports"]}
        return found

    data = {5432, 6379} if overlay == "dev" else set()
    dns = {53, 5353}
    assert may("egress", "web") == {*dns, 6432, 6379, 443, 587} | data
    assert may("egress", "beat") == {*dns, 6432, 6379} | data
    assert may("egress", "migrate") == {*dns, 5432, 6379}
    assert may("egress", "pgbouncer") == {*dns, 5432} | data
    assert may("ingress", "web") == {8000, 9808}
    if overlay != "ingress":
        assert may("ingress", "nginx") == {8080, 8443}
        assert may("egress", "nginx") == {*dns, 8000} | data
    assert may("ingress", "beat") == set()
    assert may("ingress", "alertmanager") == {9093, 9094}
    assert may("egress", "alertmanager") == {*dns, 443, 587, 9094} | data
    outside = policies["to-providers"]["spec"]["egress"][0]["to"][0]["ipBlock"]
    assert "169.254.0.0/16" in outside["except"]


def _selects(selector, name):
    if set(selector.get("matchLabels", {})) - {"app.kubernetes.io/name"}:
        return False  # pods of cert-manager or of an operator
    if app_name := selector.get("matchLabels", {}).get("app.kubernetes.io/name"):
        return app_name == name
    return all(name in row["values"] for row in selector.get("matchExpressions", []))


def test_rules_of_the_way_in_are_those_of_nginx():
    ingresses = of_kind("ingress", "Ingress")
    nginx = (DOCKER / "nginx" / "locations.conf.template").read_text()
    prefix = "nginx.ingress.kubernetes.io/"
    assert ingresses["web"]["metadata"]["annotations"][f"{prefix}proxy-body-size"] in nginx
    assert "proxy_next_upstream error timeout invalid_header" in nginx
    assert ingresses["web"]["metadata"]["annotations"][f"{prefix}proxy-next-upstream"] == "error timeout invalid_header"
    assert ingresses["web-events"]["metadata"]["annotations"][f"{prefix}proxy-buffering"] == "off"
    assert ingresses["web-metrics"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "nothing"


def test_sources_are_all_used():
    for folder in ("base", *(f"overlays/{overlay}" for overlay in OVERLAYS)):
        here = DOCKER / "k8s" / folder
        config = yaml.safe_load((here / "kustomization.yaml").read_text())
        named = {*config["resources"], *(patch["path"] for patch in config.get("patches", []) if "path" in patch)}
        named |= {file for generated in config.get("configMapGenerator", []) for file in generated["envs"]}
        files = {path.name for path in here.iterdir()} - {"kustomization.yaml"}
        assert files == {name for name in named if not name.startswith("..")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_of_a_release_works_before_its_migration(overlay):
    for name in POOLS | {"beat"}:
        (wait,) = pods(overlay)[name]["initContainers"]
        assert wait["args"] == ["wait"]
        assert wait["image"] == pods(overlay)[name]["containers"][0]["image"]
        environment = {row["name"]: row["value"] for row in wait["env"]}
        given = {
            item["path"]
            for volume in pods(overlay)[name]["volumes"]
            for item in volume.get("secret", {}).get("items", [])
        }
        read = {value.rpartition("/")[2] for key, value in environment.items() if key.endswith("_FILE")}
        assert {"secret_key", "database_url", "redis_url"} == read <= given
        assert int(environment["WAIT_SECONDS"]) >= 6 * 3600
    # The web gets traffic only when /readyz succeeds.
    assert "initContainers" not in pods(overlay)["web"]
    # An index on a large table is built for hours.
    assert "activeDeadlineSeconds" not in of_kind(overlay, "Job")["migrate"]["spec"]


def _wave(item) -> int:
    return int(item["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_migration_comes_after_what_it_needs_and_before_the_pods(overlay):
    job = of_kind(overlay, "Job")["migrate"]
    assert job["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "Sync"
    needs = {"Namespace", "ServiceAccount", "NetworkPolicy", "ExternalSecret", "ConfigMap", "Cluster"}
    for item in kubernetes(overlay):
        name = (item["kind"], plain_name(item))
        if item["kind"] in needs and name[1] not in OF_OVERLAYS:
            assert _wave(item) < _wave(job), name
        elif item["kind"] in {"Deployment", "StatefulSet", "ScaledObject", "HorizontalPodAutoscaler"}:
            assert _wave(item) > _wave(job), name


# Policies that let pods of others in, or data of a trial cluster: the migration does without, or is tried again.
OF_OVERLAYS = {
    "web-from-ingress", "solvers-from-ingress", "postgres-pods", "to-postgres-pods", "data-from-kamioi", "to-data",
    "postgres-roles", "alertmanager-files", "media-backup",
}  # fmt: skip


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_is_given_the_secrets_that_it_reads_and_no_others(overlay):
    for name in APP:
        spec = pods(overlay)[name]
        (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "secrets"]
        given = {item["key"] for item in volume["secret"]["items"]}
        read = {
            row["value"].rpartition("/")[2] for row in spec["containers"][0]["env"] if row["name"].endswith("_FILE")
        }
        assert given == read, name
        assert ("migration_database_url" in given) == (name == "migrate")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pgbouncer_gets_servers_that_exist(overlay):
    config = of_kind(overlay, "ConfigMap")["pgbouncer"]["data"]
    services = set(of_kind(overlay, "Service"))
    services |= {f"{name}-{kind}" for name in of_kind(overlay, "Cluster") for kind in ("rw", "ro")}
    for name in ("PGBOUNCER_PRIMARY_HOST", "PGBOUNCER_REPLICA_HOST"):
        assert "." in config[name] or config[name] in services, config[name]
    if overlay != "dev":
        assert config["PGBOUNCER_SERVER_TLS"] == "require"  # books and passwords do not go in clear
    pgbouncer = pods(overlay)["pgbouncer"]["containers"][0]
    assert pgbouncer["lifecycle"]["preStop"]["sleep"]["seconds"] >= 10
    for scaled in of_kind(overlay, "ScaledObject").values():
        for trigger in scaled["spec"]["triggers"]:
            assert (trigger["metadata"].get("enableTLS") == "true") == (overlay != "dev")


@pytest.mark.parametrize("overlay", sorted(set(OVERLAYS) - {"ingress"}))
def test_the_way_in_is_our_own_nginx(overlay):
    assert not of_kind(overlay, "Ingress")
    nginx = pods(overlay)["nginx"]["containers"][0]
    environment = {row["name"]: row["value"] for row in nginx["env"]}
    host, _, port = environment["NGINX_UPSTREAM"].partition(":")
    headless = of_kind(overlay, "Service")[host.split(".")[0]]["spec"]
    assert headless["clusterIP"] == "None"  # all ready webs, so that nginx has another one to try
    assert port == str(headless["ports"][0]["port"])
    assert host.endswith(".kamioi.svc.cluster.local")  # nginx knows no search path
    assert environment["NGINX_RESOLVER"] == "auto"
    service = of_kind(overlay, "Service")["nginx"]["spec"]
    assert service["type"] == ("ClusterIP" if overlay == "dev" else "LoadBalancer")
    (tls,) = [volume["secret"] for volume in pods(overlay)["nginx"]["volumes"] if volume["name"] == "tls"]
    if overlay == "dev":
        assert {(item["key"], item["path"]) for item in tls["items"]} == {
            ("tls_certificate", "tls.crt"),
            ("tls_key", "tls.key"),
        }
    else:
        assert tls["secretName"] == of_kind(overlay, "Certificate")["kamioi-tls"]["spec"]["secretName"]


def test_an_ingress_leads_to_the_hosts_that_are_allowed_and_cert_manager_is_answered():
    allowed = of_kind("ingress", "ConfigMap")["kamioi"]["data"]["ALLOWED_HOSTS"].split(",")
    for ingress in of_kind("ingress", "Ingress").values():
        assert {rule["host"] for rule in ingress["spec"]["rules"]} <= set(allowed)
    policies = of_kind("ingress", "NetworkPolicy")
    solvers = policies["solvers-from-ingress"]["spec"]
    assert solvers["podSelector"]["matchLabels"] == {"acme.cert-manager.io/http01-solver": "true"}
    assert solvers["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 8089}]
    assert "nginx" not in of_kind("ingress", "Deployment")
    assert "web-from-nginx" not in policies


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_answered_whatever_the_dns_of_the_cluster(overlay):
    to = of_kind(overlay, "NetworkPolicy")["dns"]["spec"]["egress"][0]["to"]
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in to  # NodeLocal DNSCache
    names = {
        row["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for row in to if "ipBlock" not in row
    }
    assert names == {"kube-system", "openshift-dns"}
    assert not any("podSelector" in row for row in to)
    # Servers that are pods, which some plug-ins never match by address.
    for policy in ("to-postgres", "to-redis"):
        (rule,) = of_kind(overlay, "NetworkPolicy")[policy]["spec"]["egress"]
        assert {"namespaceSelector": {"matchLabels": {"kamioi-data": "true"}}} in rule["to"]


def test_prometheus_sends_its_token_and_knows_the_rules():
    monitors = of_kind("prod", "PodMonitor")
    for name, port in (("kamioi-web", "http"), ("kamioi-worker", "metrics")):
        (endpoint,) = monitors[name]["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] == port
        assert endpoint["authorization"]["credentials"] == {"name": "kamioi", "key": "metrics_token"}
        assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": name}]  # as alerts name it
    (expression,) = monitors["kamioi-worker"]["spec"]["selector"]["matchExpressions"]
    assert set(expression["values"]) == POOLS
    printed = subprocess.run(
        [str(DOCKER / "prometheus" / "prometheus-rule")], check=True, capture_output=True, text=True
    ).stdout
    objects = {item["metadata"]["name"]: item["spec"] for item in yaml.safe_load_all(printed)}
    assert set(objects) == {"kamioi-alerts", "kamioi-recording"}
    for name, spec in objects.items():
        file = DOCKER / "prometheus" / "rules" / f"{name.removeprefix('kamioi-')}.yml"
        assert spec == yaml.safe_load(file.read_text())


def test_postgres_of_the_operator_is_backed_up_and_the_wal_is_kept():
    (cluster,) = of_kind("cnpg", "Cluster").values()
    (plugin,) = cluster["spec"]["plugins"]
    assert plugin["isWALArchiver"] is True
    assert plugin["parameters"]["barmanObjectName"] in of_kind("cnpg", "ObjectStore")
    (scheduled,) = of_kind("cnpg", "ScheduledBackup").values()
    assert scheduled["spec"]["cluster"]["name"] == cluster["metadata"]["name"]
    assert cluster["spec"]["instances"] >= 2


def test_uploads_are_backed_up_encrypted_and_can_be_restored(tmp_path):
    if shutil.which("restic") is None:
        pytest.skip("needs restic")
    (container,) = pods("cnpg")["media-backup"]["containers"]
    media, restored = tmp_path / "media", tmp_path / "restored"
    (media / "statements").mkdir(parents=True)
    environment = os.environ | {
        "RESTIC_REPOSITORY": str(tmp_path / "store"),
        "RESTIC_PASSWORD": "a long phrase",
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }
    for text in ("first", "second"):
        (media / "statements" / "bank.csv").write_text(text)
        subprocess.run([*container["command"], *container["args"]], cwd=media, env=environment, check=True)
    stored = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert stored
    assert not any(b"second" in path.read_bytes() or "bank" in path.name for path in stored)
    subprocess.run(["restic", "restore", "latest", "--target", str(restored)], env=environment, check=True)
    assert [path.read_text() for path in restored.rglob("bank.csv")] == ["second"]
