"""A body that is too large is refused before it is read, whether its length is announced or not."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytest_django import Settings

from kamioi_site.http import asgi_handler
from kamioi_site.http.body_limits import body_limit

MIB = 1024 * 1024


async def _post(path: str, chunks: AsyncIterator[bytes], headers: dict[str, str]) -> tuple[int, bytes]:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"testserver"), *((name.encode(), text.encode()) for name, text in headers.items())],
        "asgi": {"version": "3.0"},
        "client": ("127.0.0.1", 1),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(chunks), "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await asgi_handler.ThreadedASGIHandler()(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def _read(path: str, headers: dict[str, str]) -> tuple[int, bytes, int]:
    """Send a body without end; return the answer and how much of it was read."""
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 65_536
            assert read < 8 * MIB, "the body is read without a limit"
            yield b"0" * 65_536

    status, body = asyncio.run(_post(path, chunks(), headers))
    return status, body, read


@pytest.mark.parametrize(
    ("path", "content_type", "limit"),
    [
        ("/api/transactions", "application/json", MIB),
        ("/api/transactions/bulk", "application/json", 2 * MIB),
        ("/api/no/such/thing", "text/csv", MIB),
        ("/admin/login/", "application/x-www-form-urlencoded", MIB),
    ],
)
def test_a_body_without_a_length_is_read_up_to_its_limit(path: str, content_type: str, limit: int) -> None:
    status, body, read = _read(path, {"content-type": content_type})
    assert status == 413
    assert limit < read <= limit + 65_536
    assert f"{limit:,} bytes".encode() in body
    if path.startswith("/api/"):
        assert json.loads(body)["success"] is False


@pytest.mark.parametrize("length", ["1048577", "99999999999999999999", "-1", "1e3"])
def test_an_announced_length_over_the_limit_is_refused_without_reading(length: str) -> None:
    status, _, read = _read("/api/transactions", {"content-type": "application/json", "content-length": length})
    assert (status, read) == (413, 0)


def test_uploads_have_a_larger_limit(settings: Settings) -> None:
    settings.STATEMENT_MAX_BYTES = 5 * MIB
    for path in ("/api/transactions/bulk", "/api/user/upload-bank-file", "/api/admin/bulk-upload-fast"):
        assert 5 * MIB < body_limit(path, "multipart/form-data") < 6 * MIB
    assert body_limit("/api/transactions/bulk/x", "text/csv") == MIB
