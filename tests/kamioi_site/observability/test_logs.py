"""Log lines: what they contain, and what they must never contain."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client
from pytest_django import Settings

from kamioi_site.http import request_context
from kamioi_site.observability import logs
from kamioi_site.observability.logs import JsonLinesFormatter, PlainFormatter, redact, register_secret
from tests.factories import PASSWORD, api_client, make_user


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Capture the log of this process in the production format."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLinesFormatter())
    root = logging.getLogger()
    before, root.level = root.level, logging.DEBUG
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)


def read(written: io.StringIO, logger: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in written.getvalue().splitlines()]
    return [line for line in found if line["logger"] == logger]


# --- Redaction --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("log-in of a.b+c@example.co.uk failed", "log-in of [hidden] failed"),
        ("Authorization: Bearer abcdef123456", "Authorization: [hidden] [hidden]"),
        ("asked with Bearer abcdef123456.x-y", "asked with Bearer [hidden]"),
        ("GET /x?token=abc123&page=2", "GET /x?token=[hidden]&page=2"),
        ("max retries with url: /q?symbols=A&apikey=k3y", "max retries with url: /q?symbols=A&apikey=[hidden]"),
        (
            "{'password': 'pw1', \"api_key\": \"k\", 'n': 1}",
            "{'password': '[hidden]', \"api_key\": \"[hidden]\", 'n': 1}",
        ),
        ("csrftoken=abc; sessionid=def", "csrftoken=[hidden]; sessionid=[hidden]"),
        ("key sk-abcdefghijklmnop1234 refused", "key [hidden] refused"),
        ("postgresql://kamioi:pw@db:5432/x", "postgresql://[hidden]@db:5432/x"),
        ("DETAIL:  Key (phone)=(x) already exists.", "DETAIL: [hidden]"),
        ("account 123456789012", "account …9012"),
        ("card 4111 1111 1111 1234", "card …1234"),
        ("customer I1234567, USR-F7654321", "customer …4567, …4321"),
        # What people need to read stays.
        ("2026-11-24 23:14:14,123 took 1234567.8 s", "2026-11-24 23:14:14,123 took 1234567.8 s"),
        ("task 0b0f1b9c-6a52-4f6c-9d6e-000000000001", "task 0b0f1b9c-6a52-4f6c-9d6e-000000000001"),
        ("prompt_tokens: 55; The token is not valid", "prompt_tokens: 55; The token is not valid"),
        ("processed 4000 transactions in 12 sets", "processed 4000 transactions in 12 sets"),
        ("transactions@host [hidden]", "transactions@host [hidden]"),
    ],
)
def test_what_looks_like_a_secret_is_redacted_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_secrets_of_the_settings_are_redacted_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_secrets", set())
    register_secret("swordfish-swordfish")
    register_secret("redis://:p%40ssw0rd-of-redis@localhost:1/0")
    assert redact("got swordfish-swordfish, p@ssw0rd-of-redis and localhost") == "got [hidden], [hidden] and localhost"


def test_settings_register_the_secrets_that_they_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from kamioi_site.settings.env import env_secret

    (tmp_path / "secret").write_text("from-a-file-of-docker\n")
    monkeypatch.setenv("SOME_SECRET_FILE", str(tmp_path / "secret"))
    assert env_secret("SOME_SECRET") == "from-a-file-of-docker"
    assert "from-a-file" not in redact("x from-a-file-of-docker y")


def test_tracebacks_are_redacted_and_attributes_of_libraries_are_left_out() -> None:
    record = logging.LogRecord("django.request", logging.ERROR, "f", 1, "Internal Server Error: %s", ("/x",), None)
    record.request = "<WSGIRequest: GET '/x?token=abc'>"
    record.data = {"args": "('a@example.com',)"}
    try:
        raise ValueError("row of a@example.com with password=pw1")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = JsonLinesFormatter().format(record)
    assert json.loads(line)["error"].endswith("ValueError: row of [hidden] with password=[hidden]")
    plain = PlainFormatter("%(levelname)s %(message)s%(ids)s").format(record)
    for text in (line, plain):
        assert "Internal Server Error: /x" in text
        assert not any(secret in text for secret in ("example.com", "pw1", "abc", "WSGIRequest"))


def test_a_message_is_always_one_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "a\nfake line\r\n%s", ("b\x1b[31m",), None)
    assert len(JsonLinesFormatter().format(record).splitlines()) == 1


# --- Ids of a request -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "given", ["3f1c0d9e8b7a69584736251403f2e1d0", "0b0f1b9c-6a52-4f6c-9d6e-000000000001", "edge.1234_abc"]
)
def test_a_valid_request_id_of_a_proxy_is_kept(client: Client, given: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given", ["", "short", "x" * 65, "abc def ghi", "a\u00e9bcdefgh", "<script>alert(1)", "-leading-dash"]
)
def test_an_invalid_request_id_is_replaced(client: Client, given: str) -> None:
    made = client.get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"]
    assert made != given
    assert len(made) == 32
    assert request_context.request_id() == ""  # nothing stays behind in the thread


@pytest.mark.django_db
def test_a_request_is_one_line_with_its_ids_and_without_its_query(lines: io.StringIO) -> None:
    user = make_user()
    client = api_client(user)
    reply = client.get("/api/user/transactions?limit=5&token=abc123")
    (line,) = read(lines, "kamioi.access")
    assert line["message"] == f"GET /api/user/transactions 200 {line['ms']:.0f} ms"
    assert (line["route"], line["status"], line["method"]) == ("api/user/transactions", 200, "GET")
    assert line["request_id"] == reply["X-Request-ID"]
    assert line["user_id"] == user.pk
    assert "abc123" not in lines.getvalue()


@pytest.mark.django_db
def test_the_user_id_comes_from_the_session_without_a_query(client: Client, lines: io.StringIO) -> None:
    user = make_user(is_staff=True)
    client.force_login(user)
    client.get("/healthz")
    client.get("/admin/")
    quiet, page = read(lines, "kamioi.access")
    assert "user_id" not in quiet
    assert quiet["level"] == "DEBUG"
    assert page["user_id"] == user.pk


@pytest.mark.django_db
def test_logins_and_failures_contain_no_personal_data(client: Client, lines: io.StringIO, settings: Settings) -> None:
    user = make_user("jane.doe@example.com", account_number="I7654321", phone="+14155550123")
    address = "/api/user/auth/login"
    for password in (PASSWORD, "wrong-password-1"):
        body = {"email": user.email, "password": password}
        reply = client.post(address, body, content_type="application/json")
        assert reply.status_code in {200, 401}
        token = reply.json().get("token", "no-such-token-at-all")
        client.get(f"/api/user/auth/me?token={token}", headers={"Authorization": f"Bearer {token}"})
        client.post("/admin/login/", {"username": user.email, "password": password})
        client.raise_request_exception = False
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("transactions.api.views.accounts.MeView.get", lambda *_: 1 / 0, raising=False)
            broken = client.get("/api/user/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert broken.status_code in {500, 401}
        for secret in (user.email, "jane.doe", password, token, "7654321", "4155550123", django_settings.SECRET_KEY):
            assert secret not in lines.getvalue()
    assert "ZeroDivisionError" in lines.getvalue()
