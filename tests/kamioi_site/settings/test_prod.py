"""Production settings: nothing insecure by default, nothing that must be decided left undecided, secrets from files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GIVEN = {
    "SECRET_KEY": "p" * 30 + "r0duct1on-" + "abcdefghijklmnopqrstuvwxyz",
    "ALLOWED_HOSTS": "kamioi.example",
    # No server listens there: these checks connect to none.
    "DATABASE_URL": "postgresql://kamioi:from-the-environment@127.0.0.1:1/kamioi",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=kept | {"DJANGO_SETTINGS_MODULE": "kamioi_site.settings.prod"} | environment,
    )


def _settings(*names: str, **environment: str):
    code = (
        "import json; from django.conf import settings; "
        "print(json.dumps({{name: getattr(settings, name, None) for name in {}}}))"
    )
    done = _python(code.format(list(names)), **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_deployment_check_has_no_complaint():
    code = """
import django; django.setup()
from django.core.management import call_command
call_command("check", *{}, deploy=True, fail_level="WARNING")
"""
    decided = {"STAFF_OTP_REQUIRED": "true", "PRICE_PROVIDER": "http", "PRICE_API_URL": "https://prices.example/quotes"}
    done = _python(code.format([]), **GIVEN, **decided)
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout + done.stderr
    for name, number in (("STAFF_OTP_REQUIRED", "W001"), ("PRICE_PROVIDER", "W003")):
        undecided = {key: value for key, value in decided.items() if key != name}
        done = _python(code.format(["--tag=security"]), **GIVEN, **undecided)
        assert f"kamioi.{number}" in done.stderr


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": "*"}, "* would allow any"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"REDIS_URL": ""}, "REDIS_URL"),
        ({"SETTLEMENT_PROVIDER": "other"}, "SETTLEMENT_PROVIDER must be one of"),
        ({"SECRET_KEY_FILE": "/nowhere/secret_key"}, "SECRET_KEY_FILE cannot be read"),
        ({"PRICE_PROVIDER": "csv"}, "PRICE_PROVIDER=csv needs PRICE_CSV_PATH"),
        ({"PRICE_PROVIDER": "csv", "PRICE_CSV_PATH": ""}, "PRICE_PROVIDER=csv needs PRICE_CSV_PATH"),
        ({"PRICE_PROVIDER": "oracle"}, "PRICE_PROVIDER must be one of"),
    ],
)
def test_a_missing_decision_prevents_the_start(changed, message):
    done = _python("from django.conf import settings; settings.DEBUG", **GIVEN | changed)
    assert done.returncode != 0
    assert message in done.stderr


def test_nothing_is_settled_without_a_decision():
    assert _settings("SETTLEMENT_PROVIDER", **GIVEN) == {"SETTLEMENT_PROVIDER": ""}


def test_nothing_is_bought_at_the_prices_of_the_demo():
    names = ("PRICE_PROVIDER", "PRICE_CSV_PATH", "PRICE_CSV_UNDATED")
    assert _settings(*names, **GIVEN) == {"PRICE_PROVIDER": "", "PRICE_CSV_PATH": "", "PRICE_CSV_UNDATED": False}
    given = {"PRICE_PROVIDER": "csv", "PRICE_CSV_PATH": "/srv/quotes.csv"}
    assert _settings(*names, **GIVEN, **given) == given | {"PRICE_CSV_UNDATED": False}


def test_secrets_come_from_files_before_the_environment(tmp_path):
    (tmp_path / "key").write_text("from-a-file-" + "k" * 50 + "\n")
    (tmp_path / "url").write_text("postgresql://kamioi:from-a-file@127.0.0.1:1/kamioi\n")
    found = _settings(
        "SECRET_KEY",
        "DATABASES",
        **GIVEN,
        SECRET_KEY_FILE=str(tmp_path / "key"),
        DATABASE_URL_FILE=str(tmp_path / "url"),
    )
    assert found["SECRET_KEY"] == "from-a-file-" + "k" * 50
    assert found["DATABASES"]["default"]["PASSWORD"] == "from-a-file"


def test_cookies_and_transport_are_strict():
    names = (
        "SECURE_SSL_REDIRECT",
        "SECURE_HSTS_SECONDS",
        "SECURE_HSTS_INCLUDE_SUBDOMAINS",
        "SESSION_COOKIE_SECURE",
        "CSRF_COOKIE_SECURE",
        "SESSION_COOKIE_HTTPONLY",
        "SESSION_COOKIE_NAME",
        "CSRF_COOKIE_NAME",
        "DEBUG",
        "SECURE_PROXY_SSL_HEADER",
        "USE_X_FORWARDED_HOST",
    )
    assert _settings(*names, **GIVEN) == {
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "CSRF_COOKIE_NAME": "__Host-csrftoken",
        "DEBUG": False,
        # A client's header is not trusted for TLS unless configured.
        "SECURE_PROXY_SSL_HEADER": None,
        "USE_X_FORWARDED_HOST": False,
    }
    values = _settings("SECURE_PROXY_SSL_HEADER", **GIVEN, SECURE_PROXY_SSL_HEADER="X-Forwarded-Proto")
    assert values["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]


def test_only_probes_may_connect_by_address():
    code = """
import django; django.setup()
from django.test import Client
client = Client(SERVER_NAME="10.1.2.3")
print(client.get("/healthz").status_code, client.get("/admin/login/").status_code)
"""
    done = _python(code, **GIVEN)
    assert done.stdout.strip() == "200 400", done.stderr
