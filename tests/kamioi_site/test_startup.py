"""Start-up of the web and of the workers imports no library that only a few functions need."""

import json
import os
import subprocess
import sys

import pytest

# Each of these costs tens of megabytes or tenths of a second in every process.
HEAVY = {
    "adbc_driver_manager",
    "adbc_driver_postgresql",
    "adbc_driver_sqlite",
    "exchange_calendars",
    "httpx2",
    "numpy",
    "openai",
    "openpyxl",
    "pandas",
    "PIL",
    "pyarrow",
    "python_calamine",
    "rapidfuzz",
    "reportlab",
    "scipy",
    "sentry_sdk",
}
WEB = """
import kamioi_site.asgi
from django.contrib import admin
from django.urls import get_resolver
get_resolver().url_patterns
assert admin.site._registry
from celery import current_app
assert current_app.main == "kamioi"
from django.core.checks.registry import registry
assert "staff_second_factor" in {check.__name__ for check in registry.deployment_checks}
"""
WORKER = """
from kamioi_site.celery import app
app.loader.import_default_modules()
assert "process_transactions" in app.tasks
"""
REPORT = """
import json, pathlib, re, sys
memory = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())
print(json.dumps({"modules": sorted({name.partition(".")[0] for name in sys.modules}), "kilobytes": int(memory[1])}))
"""


@pytest.mark.parametrize("program", [WEB, WORKER], ids=["web", "worker"])
def test_starting_a_process_imports_no_heavy_library(program: str) -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "kamioi_site.settings.test", "SENTRY_DSN": ""}
    output = subprocess.run(
        [sys.executable, "-c", program + REPORT], env=environment, capture_output=True, text=True, check=True
    ).stdout
    report = json.loads(output.splitlines()[-1])
    assert HEAVY & set(report["modules"]) == set()
    assert report["kilobytes"] < 130_000  # test packages add a few megabytes to what an image has
