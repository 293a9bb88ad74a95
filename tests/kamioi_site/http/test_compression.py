"""Which responses are compressed, and how."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import brotli
import pytest
import zstandard
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory

from kamioi_site.http.compression import CompressionMiddleware, uncompressed
from tests.factories import PASSWORD, api_client, make_staff, make_transaction, make_user

TEXT = "a purchase at the corner shop " * 200


def _respond(make: Callable[[], Any], *, accept: str = "gzip, deflate, br, zstd", path: str = "/api/x") -> Any:
    request = RequestFactory().get(path, HTTP_ACCEPT_ENCODING=accept)
    return CompressionMiddleware(lambda _: make())(request)


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0, br;q=0.5", "br"),
        ("identity", None),
        ("", None),
        ("snappy", None),
    ],
)
def test_the_best_accepted_encoding_is_used(accept: str, encoding: str | None) -> None:
    response = _respond(lambda: HttpResponse(TEXT), accept=accept)
    assert response.get("Content-Encoding") == encoding
    assert "Accept-Encoding" in response["Vary"]
    decompress = {"zstd": zstandard.decompress, "br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding]
    assert decompress(response.content).decode() == TEXT
    if encoding:
        assert int(response["Content-Length"]) == len(response.content) < 500


@pytest.mark.parametrize(
    "make",
    [
        lambda: HttpResponse("x" * 900),
        lambda: uncompressed(HttpResponse(TEXT)),
        lambda: HttpResponse(TEXT, content_type="image/png"),
        lambda: StreamingHttpResponse(iter([TEXT]), content_type="text/event-stream"),
        lambda: HttpResponse(TEXT, headers={"Content-Encoding": "identity"}),
    ],
    ids=["tiny", "secret", "picture", "events", "encoded"],
)
def test_these_responses_are_not_compressed(make: Callable[[], Any]) -> None:
    assert _respond(make).get("Content-Encoding") in {None, "identity"}


def test_log_in_responses_are_never_compressed() -> None:
    assert not _respond(lambda: HttpResponse(TEXT), path="/api/user/auth/login").has_header("Content-Encoding")


def test_an_etag_becomes_weak() -> None:
    assert _respond(lambda: HttpResponse(TEXT, headers={"ETag": '"abc"'}))["ETag"] == 'W/"abc"'


def test_a_stream_is_compressed_in_chunks() -> None:
    response = _respond(lambda: StreamingHttpResponse(iter([TEXT, TEXT]), content_type="text/csv"), accept="gzip")
    assert gzip.decompress(response.getvalue()).decode() == TEXT * 2

    async def lines() -> AsyncIterator[str]:
        for _ in range(2):
            yield TEXT

    async def read() -> bytes:
        response = await CompressionMiddleware(_view(lambda: StreamingHttpResponse(lines())))(
            RequestFactory().get("/x", HTTP_ACCEPT_ENCODING="br, gzip")
        )
        assert response["Content-Encoding"] == "gzip"
        return b"".join([chunk async for chunk in response])

    assert gzip.decompress(asyncio.run(read())).decode() == TEXT * 2


def _view(make: Callable[[], Any]) -> Any:
    async def view(_: HttpRequest) -> Any:
        return make()

    return view


@pytest.mark.django_db
def test_lists_and_pages_are_compressed_and_tokens_are_not(client: Client) -> None:
    user = make_user()
    for _ in range(20):
        make_transaction(user)
    response = api_client(user).get("/api/user/transactions", HTTP_ACCEPT_ENCODING="br")
    assert response["Content-Encoding"] == "br"
    assert brotli.decompress(response.content).startswith(b'{"success":true')
    body = {"email": user.email, "password": PASSWORD}
    response = api_client().post("/api/user/auth/login", body, format="json", HTTP_ACCEPT_ENCODING="br")
    assert response.json()["success"]
    assert not response.has_header("Content-Encoding")
    client.force_login(make_staff())
    assert client.get("/admin/", HTTP_ACCEPT_ENCODING="gzip")["Content-Encoding"] == "gzip"
