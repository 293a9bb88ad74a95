"""docker/k8s: built by kustomize, validated against the Kubernetes schemas, the settings and each other."""

import re

import kubernetes_validate
import pytest
import yaml
from django.conf import settings
from kombu.transport.redis import Channel

from tests.docker.manifests import DOCKER, kubernetes, of_kind, pods
from tests.docker.test_compose import _names_the_code_reads

OVERLAYS = ("dev", "prod")
QUEUES = {queue.name for queue in settings.CELERY_TASK_QUEUES}
POOLS = {f"worker-{queue}" for queue in QUEUES}
APP = {"web", "beat", "migrate", *POOLS}
VERSION = "1.34"
# Kinds of operators: their schemas are not part of Kubernetes.
CUSTOM = {"ScaledObject", "TriggerAuthentication", "ExternalSecret"}


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
        assert container["envFrom"] == [{"configMapRef": {"name": "kamioi"}}]
        environment = {row["name"]: row["value"] for row in container["env"]}
        assert set(environment) <= known
        for needed in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "METRICS_TOKEN"):
            assert environment[f"{needed}_FILE"].startswith("/run/secrets/kamioi/")
        assert environment["DATABASE_URL_FILE"] == "/run/secrets/kamioi/database_url"
        assert ("MIGRATION_DATABASE_URL_FILE" in environment) == (name == "migrate")
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/run/secrets/kamioi", "/tmp"} <= mounted
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
                asked[overlay] |= {item["key"] for item in volume.get("secret", {}).get("items", [])}
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
        named = {port["name"]: port["containerPort"] for port in pods(overlay)[name]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(named)
        assert service["spec"]["selector"]["app.kubernetes.io/name"] == name
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
    assert set(budgets) == {"web", "pgbouncer", "alertmanager", *POOLS}
    for name, budget in budgets.items():
        assert budget["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": name}
    for name in {"web", "pgbouncer", "alertmanager", *POOLS}:
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
    assert may("egress", "web") == {53, 6432, 6379, 443, 587} | data
    assert may("egress", "beat") == {53, 6432, 6379} | data
    assert may("egress", "migrate") == {53, 5432, 6379}
    assert may("egress", "pgbouncer") == {53, 5432} | data
    assert may("ingress", "web") == {8000, 9808}
    assert may("ingress", "beat") == set()
    assert may("ingress", "alertmanager") == {9093, 9094}
    assert may("egress", "alertmanager") == {53, 443, 587, 9094} | data
    outside = policies["to-providers"]["spec"]["egress"][0]["to"][0]["ipBlock"]
    assert "169.254.0.0/16" in outside["except"]


def _selects(selector, name):
    if app_name := selector.get("matchLabels", {}).get("app.kubernetes.io/name"):
        return app_name == name
    return all(name in row["values"] for row in selector.get("matchExpressions", []))


def test_rules_of_the_way_in_are_those_of_nginx():
    ingresses = of_kind("prod", "Ingress")
    nginx = (DOCKER / "nginx" / "locations.conf.template").read_text()
    prefix = "nginx.ingress.kubernetes.io/"
    assert ingresses["web"]["metadata"]["annotations"][f"{prefix}proxy-body-size"] in nginx
    assert "proxy_next_upstream error timeout invalid_header" in nginx
    assert ingresses["web"]["metadata"]["annotations"][f"{prefix}proxy-next-upstream"] == "error timeout invalid_header"
    assert ingresses["web-events"]["metadata"]["annotations"][f"{prefix}proxy-buffering"] == "off"
    assert ingresses["web-metrics"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "nothing"


def test_sources_are_all_used():
    for folder in ("base", "overlays/dev", "overlays/prod"):
        here = DOCKER / "k8s" / folder
        config = yaml.safe_load((here / "kustomization.yaml").read_text())
        named = {*config["resources"], *(patch["path"] for patch in config.get("patches", []) if "path" in patch)}
        files = {path.name for path in here.glob("*.yaml")} - {"kustomization.yaml"}
        assert files == {name for name in named if not name.startswith("..")}
