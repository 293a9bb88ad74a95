"""What is compressed, how, and what must not be."""

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


def _answer(make: Callable[[], Any], *, accept: str = "gzip, deflate, br, zstd", path: str = "/api/x") -> Any:
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
def test_the_best_that_the_caller_knows(accept: str, encoding: str | None) -> None:
    reply = _answer(lambda: HttpResponse(TEXT), accept=accept)
    assert reply.get("Content-Encoding") == encoding
    assert "Accept-Encoding" in reply["Vary"]
    unpack = {"zstd": zstandard.decompress, "br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding]
    assert unpack(reply.content).decode() == TEXT
    if encoding:
        assert int(reply["Content-Length"]) == len(reply.content) < 500


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
def test_these_go_as_they_are(make: Callable[[], Any]) -> None:
    assert _answer(make).get("Content-Encoding") in {None, "identity"}


def test_answers_of_log_in_are_never_compressed() -> None:
    assert not _answer(lambda: HttpResponse(TEXT), path="/api/user/auth/login").has_header("Content-Encoding")


def test_an_etag_becomes_a_weak_one() -> None:
    assert _answer(lambda: HttpResponse(TEXT, headers={"ETag": '"abc"'}))["ETag"] == 'W/"abc"'


def test_a_long_download_is_compressed_as_it_comes() -> None:
    reply = _answer(lambda: StreamingHttpResponse(iter([TEXT, TEXT]), content_type="text/csv"), accept="gzip")
    assert gzip.decompress(reply.getvalue()).decode() == TEXT * 2

    async def lines() -> AsyncIterator[str]:
        for _ in range(2):
            yield TEXT

    async def read() -> bytes:
        reply = await CompressionMiddleware(_answering(lambda: StreamingHttpResponse(lines())))(
            RequestFactory().get("/x", HTTP_ACCEPT_ENCODING="br, gzip")
        )
        assert reply["Content-Encoding"] == "gzip"
        return b"".join([piece async for piece in reply])

    assert gzip.decompress(asyncio.run(read())).decode() == TEXT * 2


def _answering(make: Callable[[], Any]) -> Any:
    async def answer(_: HttpRequest) -> Any:
        return make()

    return answer


@pytest.mark.django_db
def test_lists_and_pages_are_compressed_and_tokens_are_not(client: Client) -> None:
    user = make_user()
    for _ in range(20):
        make_transaction(user)
    reply = api_client(user).get("/api/user/transactions", HTTP_ACCEPT_ENCODING="br")
    assert reply["Content-Encoding"] == "br"
    assert brotli.decompress(reply.content).startswith(b'{"success":true')
    body = {"email": user.email, "password": PASSWORD}
    reply = api_client().post("/api/user/auth/login", body, format="json", HTTP_ACCEPT_ENCODING="br")
    assert reply.json()["success"]
    assert not reply.has_header("Content-Encoding")
    client.force_login(make_staff())
    assert client.get("/admin/", HTTP_ACCEPT_ENCODING="gzip")["Content-Encoding"] == "gzip"
