"""The files of `docker/` as data: compose as parsed by Docker's client, Kubernetes as built by kustomize."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKER = ROOT / "docker"
BIN = Path(sys.prefix) / "bin"


@cache
def compose(**settings: str) -> dict[str, Any]:
    """Return compose.yml with every profile and these settings, checked and resolved by docker-compose."""
    done = subprocess.run(
        [
            str(BIN / "docker-compose"),
            "-f",
            str(DOCKER / "compose.yml"),
            "--env-file",  # not the settings of this machine
            os.devnull,
            "--profile",
            "*",
            "config",
            "--format",
            "json",
            "--no-path-resolution",
        ],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "ALLOWED_HOSTS": "kamioi.example"} | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@cache
def kubernetes(overlay: str) -> list[dict[str, Any]]:
    """Every object of an overlay, as kustomize builds it."""
    done = subprocess.run(
        [str(BIN / "kubectl"), "kustomize", str(DOCKER / "k8s" / "overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    """Objects of that kind by their names; those of ConfigMaps without the hash at their end."""
    return {plain_name(item): item for item in kubernetes(overlay) if item["kind"] == kind}


def plain_name(item: dict[str, Any]) -> str:
    """The name as in the sources."""
    name: str = item["metadata"]["name"]
    return re.sub(r"-[a-z0-9]{10}$", "", name) if item["kind"] == "ConfigMap" else name


def pods(overlay: str) -> dict[str, dict[str, Any]]:
    """The pod specification of everything that runs pods, by its name."""
    found = {}
    for item in kubernetes(overlay):
        if item["kind"] in {"Deployment", "StatefulSet", "Job", "CronJob"}:
            spec = item["spec"]["jobTemplate"]["spec"] if item["kind"] == "CronJob" else item["spec"]
            found[item["metadata"]["name"]] = spec["template"]["spec"]
    return found
