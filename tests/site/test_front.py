"""Answers given again in front of Django: never after a change, never to anybody else, counted like any other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import Group
from django.db import connections
from django.utils import timezone
from prometheus_client import REGISTRY
from pytest_django import Settings

from kamioi_site.api.views import rate_counters
from kamioi_site.cache.namespaces import clear_caches
from kamioi_site.cache.redis import redis_client
from kamioi_site.http import response_cache
from kamioi_site.http.asgi_handler import ThreadedASGIHandler
from kamioi_site.http.response_cache import ResponseCacheMiddleware
from tests.factories import PASSWORD, make_staff, make_transaction, make_user
from transactions.models import ApiToken, User
from transactions.services.accounts import change_password, revoke_tokens
from transactions.services.user_admin import update_user

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
LIST = "/api/user/transactions?limit=50"


@dataclass
class _Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    from_django: bool


class _Site:
    """The site as a web process has it, with a count of what came to Django."""

    def __init__(self) -> None:
        self.django = ThreadedASGIHandler()
        self.asked = 0
        self.application = ResponseCacheMiddleware(self._django)

    async def _django(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await self.django(scope, receive, send)

    async def get(self, address: str, token: str, method: str = "GET", **headers: str) -> _Reply:
        path, _, query = address.partition("?")
        before = self.asked
        given = {"host": "testserver", "authorization": f"Bearer {token}"} | headers
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "query_string": query.encode(),
            "path": path,
            "client": ("10.1.2.3", 1),
            "server": ("testserver", 80),
            "asgi": {"version": "3.0"},
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
        }
        talk = ApplicationCommunicator(self.application, scope)
        await talk.send_input({"type": "http.request", "body": b"", "more_body": False})
        start = await talk.receive_output(20)
        body = b""
        while True:
            piece = await talk.receive_output(20)
            body += piece.get("body", b"")
            if not piece.get("more_body"):
                break
        await talk.wait(20)
        while self.application._storing:
            await asyncio.gather(*self.application._storing)
        found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return _Reply(start["status"], found, body, self.asked > before)

    async def kept(self, token: str, address: str = LIST, **headers: str) -> _Reply:
        """The answer from the front: the first time Django is asked, the second time its answer is kept."""
        first = await self.get(address, token, **headers)
        await self.get(address, token, **headers)
        third = await self.get(address, token, **headers)
        assert (first.from_django, third.from_django) == (True, False)
        return third


def _tell(story: Callable[[_Site], Awaitable[None]]) -> None:
    async def told() -> None:
        site = _Site()
        try:
            await story(site)
        finally:
            await response_cache.questions().aclose()
            from kamioi_site.http import asgi_handler

            pool = asgi_handler._pool()
            await asyncio.gather(
                *[asyncio.get_running_loop().run_in_executor(pool, connections.close_all) for _ in range(32)]
            )
            await sync_to_async(connections.close_all)()

    asyncio.run(told())


def _customer(rows: int = 20) -> tuple[User, str]:
    user = make_user()
    for number in range(rows):
        make_transaction(user, amount=f"{number + 1}.25")
    return user, ApiToken.issue(user=user)[1]


db = sync_to_async


@pytest.mark.parametrize("address", [LIST, "/api/user/transactions", "/api/user/roundups/total"])
@pytest.mark.parametrize("encoding", ["", "gzip", "br, gzip", "zstd, br"])
def test_a_kept_answer_is_djangos_to_the_last_header_but_its_id(address: str, encoding: str) -> None:
    _, token = _customer()

    async def story(site: _Site) -> None:
        given = {"accept_encoding": encoding} if encoding else {}
        first = await site.get(address, token, **given)
        kept = await site.kept(token, address + ("&" if "?" in address else "?") + "x=1", **given)
        assert (kept.status, kept.body) == (200, first.body)
        ids = first.headers.pop("x-request-id"), kept.headers.pop("x-request-id")
        assert ids[0] != ids[1]
        first.headers.pop("etag"), kept.headers.pop("etag")  # it names the address
        assert kept.headers == first.headers
        assert kept.headers.get("content-encoding", "") == (
            encoding.split(",", maxsplit=1)[0] if len(first.body) > 300 else ""
        )

    _tell(story)


def test_a_detail_is_kept_and_a_refusal_is_not() -> None:
    owner, token = _customer(1)
    stranger, other = _customer(1)
    mine, theirs = owner.transactions.first(), stranger.transactions.first()

    async def story(site: _Site) -> None:
        await site.kept(token, f"/api/transactions/{mine.pk}")
        for _ in range(3):
            reply = await site.get(f"/api/transactions/{theirs.pk}", token)
            assert (reply.status, reply.from_django) == (404, True)
            assert (await site.get("/api/user/transactions?limit=0", token)).from_django
            assert (await site.get("/api/user/portfolio", token)).from_django  # nobody said that it may be kept
        assert (await site.get(f"/api/transactions/{mine.pk}", other)).status == 404

    _tell(story)


def test_another_customer_and_another_token_never_get_it() -> None:
    owner, token = _customer()
    _, others = _customer(1)
    second = ApiToken.issue(user=owner)[1]

    async def story(site: _Site) -> None:
        kept = await site.kept(token)
        for other in (others, second, "guess", ""):
            reply = await site.get(LIST, other)
            assert reply.from_django
            assert (reply.body == kept.body) == (other == second)
        theirs = await site.kept(others)
        assert theirs.body != kept.body
        assert (await site.get(LIST, token)).body == kept.body

    _tell(story)


def test_right_after_a_write_the_new_answer_comes() -> None:
    user, token = _customer(2)

    async def story(site: _Site) -> None:
        kept = await site.kept(token)
        await db(make_transaction)(user, "TARGET")
        fresh = await site.get(LIST, token)
        assert fresh.from_django
        assert b"TARGET" in fresh.body
        assert b"TARGET" not in kept.body
        again = await site.get(LIST, token)
        assert (again.from_django, again.body) == (False, fresh.body)
        await db(clear_caches)()
        assert (await site.get(LIST, token)).from_django

    _tell(story)


def test_an_answer_that_was_computed_before_a_write_is_not_kept_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    user, token = _customer(1)

    async def story(site: _Site) -> None:
        await site.get(LIST, token)
        real = site.django.handle

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await real(scope, receive, send)
            await db(make_transaction)(user, "TARGET")  # Django has answered, the front has yet to store

        monkeypatch.setattr(site.django, "handle", slow)
        await site.get(LIST, token)
        monkeypatch.undo()
        reply = await site.get(LIST, token)
        assert reply.from_django
        assert b"TARGET" in reply.body

    _tell(story)


def _closed(user: User, staff: User) -> None:
    update_user(user_id=user.pk, changes={"is_active": False}, actor=staff)


def _erased(user: User, staff: User) -> None:
    from transactions.services.privacy import request_erasure

    request_erasure(person=user, actor=staff, reason="asked")


def _password(user: User, staff: User) -> None:
    change_password(user=user, current=PASSWORD, new="another horse battery", keep=None)


def _deleted(user: User, staff: User) -> None:
    ApiToken.objects.filter(user=user).delete()


def _saved(user: User, staff: User) -> None:
    token = ApiToken.objects.get(user=user)
    token.revoked_at = timezone.now()
    token.save()


def _inactive(user: User, staff: User) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


@pytest.mark.parametrize(
    "end",
    [_closed, _erased, _password, _deleted, _saved, _inactive, lambda user, staff: revoke_tokens(user=user)],
    ids=["closed", "erased", "password", "deleted", "saved", "inactive", "revoked"],
)
def test_whatever_ends_a_token_ends_its_answers_at_once(end: Callable[[User, User], None]) -> None:
    user, token = _customer(0)
    staff = make_staff()

    async def story(site: _Site) -> None:
        await site.kept(token)
        await db(end)(user, staff)
        for _ in range(3):
            reply = await site.get(LIST, token)
            assert (reply.status, reply.from_django) == (401, True)

    _tell(story)


def test_logging_out_ends_them_too() -> None:
    _, token = _customer(1)

    async def story(site: _Site) -> None:
        await site.kept(token)
        assert (await site.get("/api/user/auth/logout", token, method="POST")).status == 200
        assert (await site.get(LIST, token)).status == 401

    _tell(story)


def test_a_new_role_voids_them_and_what_staff_see_is_not_kept() -> None:
    user, token = _customer(1)
    group = Group.objects.create(name="bench")

    async def story(site: _Site) -> None:
        for change in (lambda: user.groups.add(group), lambda: group.user_set.remove(user), group.user_set.clear):
            await site.kept(token, f"{LIST}&{change}")
            await db(change)()
            assert (await site.get(f"{LIST}&{change}", token)).from_django
        user.is_staff = True
        await db(user.save)()
        for _ in range(3):
            assert (await site.get(LIST, token)).from_django

    _tell(story)


def test_it_ends_with_the_token_and_with_its_time(settings: Settings) -> None:
    user, token = _customer(1)
    ApiToken.objects.filter(user=user).update(expires_at=timezone.now() + timedelta(seconds=30))

    async def story(site: _Site) -> None:
        await site.kept(token)
        (key,) = await db(lambda: list(redis_client().scan_iter("kamioi:1:answer:*")))()
        assert 0 < await db(redis_client().pttl)(key) <= 30_000
        with time_machine.travel(timezone.now() + timedelta(seconds=31)):
            await db(redis_client().delete)(key)  # as it has gone by then
            assert (await site.get(LIST, token)).status == 401

    _tell(story)


def test_a_validator_that_holds_is_304_with_the_headers_that_django_gives() -> None:
    _, token = _customer()

    async def story(site: _Site) -> None:
        kept = await site.kept(token, accept_encoding="gzip")
        tag = kept.headers["etag"]
        for match, status in ((tag, 304), (f'"x", {tag.removeprefix("W/")}', 304), ("*", 304), ('W/"other"', 200)):
            reply = await site.get(LIST, token, accept_encoding="gzip", if_none_match=match)
            assert (reply.status, reply.from_django) == (status, False)
            assert reply.body == (b"" if status == 304 else kept.body)
        await db(clear_caches)()
        changed = await site.get(LIST, token, accept_encoding="gzip", if_none_match=tag)
        assert (changed.status, changed.from_django) == (200, True)
        await site.get(LIST, token, accept_encoding="gzip")
        ours = await site.get(LIST, token, accept_encoding="gzip", if_none_match=changed.headers["etag"])
        settled = response_cache.settings.ANSWERS_KEPT_SECONDS
        response_cache.settings.ANSWERS_KEPT_SECONDS = 0
        try:
            djangos = await site.get(LIST, token, accept_encoding="gzip", if_none_match=changed.headers["etag"])
        finally:
            response_cache.settings.ANSWERS_KEPT_SECONDS = settled
        assert (ours.status, ours.from_django, djangos.status, djangos.from_django) == (304, False, 304, True)
        for reply in (ours, djangos):
            reply.headers.pop("x-request-id")
        # Django compresses nothing where there is no body; that the answer varies by it is true of both.
        djangos.headers["vary"] += ", Accept-Encoding"
        assert {name: sorted(value.split(", ")) for name, value in ours.headers.items()} == {
            name: sorted(value.split(", ")) for name, value in djangos.headers.items()
        }

    _tell(story)


def test_the_rate_is_exact_whoever_answers(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"authenticated": ["7/h", "100/d"]}
    user, token = _customer(1)

    async def story(site: _Site) -> None:
        replies = [await site.get(LIST, token) for _ in range(9)]
        assert [reply.status for reply in replies] == [200] * 7 + [429] * 2
        assert [reply.from_django for reply in replies] == [True] * 2 + [False] * 5 + [True] * 2
        hour, day = rate_counters("authenticated", str(user.pk))
        assert [int(await db(redis_client().get)(one.key)) for one in (hour, day)] == [9, 9]
        assert 0 < await db(redis_client().ttl)(hour.key) <= hour.seconds

    _tell(story)


@pytest.mark.parametrize(
    "headers",
    [
        {"cookie": "sessionid=x"},
        {"origin": "http://localhost:3000"},
        {"range": "bytes=0-1"},
        {"content_length": "2"},
        {"host": "elsewhere.example"},
        {"accept": "text/html"},
        {"idempotency_key": "a"},
        {"authorization": "Basic x"},
    ],
)
def test_what_is_unusual_is_djangos(headers: dict[str, str]) -> None:
    _, token = _customer(1)

    async def story(site: _Site) -> None:
        await site.kept(token)
        for _ in range(2):
            assert (await site.get(LIST, token, **headers)).from_django
        assert (await site.get(LIST, token, method="HEAD")).from_django

    _tell(story)


def test_it_counts_in_the_metrics_and_in_the_log_under_its_own_id(caplog: pytest.LogCaptureFixture) -> None:
    _, token = _customer(1)
    labels = {"method": "GET", "route": "api/user/transactions", "status": "200"}

    def seen() -> tuple[float, float]:
        return (
            REGISTRY.get_sample_value("kamioi_http_requests_total", labels) or 0.0,
            REGISTRY.get_sample_value(
                "kamioi_http_request_seconds_count", {name: labels[name] for name in ("method", "route")}
            )
            or 0.0,
        )

    async def story(site: _Site) -> None:
        await site.kept(token)
        before = seen()
        with caplog.at_level(logging.INFO, logger="kamioi.access"):
            caplog.clear()
            reply = await site.get(LIST, token, x_request_id="an-id-of-a-proxy")
        assert reply.headers["x-request-id"] == "an-id-of-a-proxy"
        assert [after - was for after, was in zip(seen(), before, strict=True)] == [1.0, 1.0]
        (line,) = [record for record in caplog.records if record.name == "kamioi.access"]
        assert (line.route, line.status, line.client) == ("api/user/transactions", 200, "10.1.2.3")  # type: ignore[attr-defined]
        assert "limit" not in line.getMessage()
        assert (await site.get(LIST, token, x_request_id="no\nid")).headers["x-request-id"] != "no\nid"

    _tell(story)


def test_without_redis_django_answers_the_same_and_with_it_all_is_well_again(settings: Settings) -> None:
    _, token = _customer(3)

    async def story(site: _Site) -> None:
        kept = await site.kept(token)
        asking, url = response_cache.questions(), settings.REDIS_URL
        await asking.aclose()
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        for _ in range(3):
            reply = await site.get(LIST, token)
            assert (reply.status, reply.body, reply.from_django) == (200, kept.body, True)
        settings.REDIS_URL = url
        await asking.aclose()
        asking._closed_until = 0.0
        assert not (await site.get(LIST, token)).from_django

    _tell(story)


def test_an_invalidation_that_redis_did_not_hear_keeps_the_front_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = _customer(1)

    async def story(site: _Site) -> None:
        await site.kept(token)
        monkeypatch.setattr(response_cache, "has_pending_invalidations", lambda: True)
        assert (await site.get(LIST, token)).from_django

    _tell(story)


def test_it_can_be_switched_off(settings: Settings) -> None:
    _, token = _customer(1)

    async def story(site: _Site) -> None:
        settings.ANSWERS_KEPT_SECONDS = 0
        for _ in range(4):
            assert (await site.get(LIST, token)).from_django

    _tell(story)


def test_two_hundred_at_once_are_each_answered_with_their_own() -> None:
    people = [_customer(1) for _ in range(4)]

    async def story(site: _Site) -> None:
        own = {token: (await site.kept(token)).body for _, token in people}
        replies = await asyncio.gather(*(site.get(LIST, token) for _, token in people * 50))
        assert [reply.body for reply in replies] == [own[token] for _, token in people * 50]
        assert not any(reply.from_django for reply in replies)

    _tell(story)
