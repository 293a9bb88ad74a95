"""Answers that a customer got a moment ago, given again without Django: one question to Redis, no thread, no database.

A view says that its answer may be kept (`cache_response`). When the same customer asks the same again, the answer is stored with
the generations (`kamioi_site.cache.namespaces`) it was computed under, which are read *before* Django is asked. At every request after that
one script in Redis looks whether these are still the current ones and counts the request against the caller's rate. Rules
that hold here:

- A kept answer belongs to a token, an address with its query, and to everything in the request that Django's answer depends on.
- It is void at once when the customer's data change, and when a token of theirs is revoked or their account changes
  (`person:{user_id}`). It ends with the token, and after `ANSWERS_KEPT_SECONDS` whatever happens: a change that Redis did not hear
  of is seen by then.
- Only a 200 is kept, never a cookie. What is unusual about a request (cookies, another origin, a range, a body …) is for Django.
- A rate that is exceeded, a generation that changed, Redis away: Django answers, as if none of this were here.
- Headers are Django's own, but the request's id; metrics and the access log count such a request like any other.
"""

import asyncio
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Any, Final

from compression_middleware.middleware import compressor
from django.conf import settings
from django.http import HttpRequest
from django.utils.http import parse_etags
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from kamioi_site.api.views import rate_counters
from kamioi_site.cache.namespaces import (
    GENERATION_SECONDS,
    PREFIX,
    generation_key,
    has_pending_invalidations,
    response_generations,
)
from kamioi_site.cache.redis import async_redis_client
from kamioi_site.http.request_context import HEADER, answered_in_front
from kamioi_site.observability import metrics

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_TICKET: Final = "kamioi.front"
_KNOWN: Final = 100_000  # requests whose caller this process remembers
_LARGEST: Final = 512 * 1024  # bytes of an answer
_AT_ONCE: Final = 256  # questions that go to Redis together
_PAUSE: Final = 1.0  # seconds without a question after Redis did not answer
_TIMEOUT: Final = 1.0
_FOR_DJANGO: Final = {
    b"cookie",
    b"origin",
    b"range",
    b"if-range",
    b"if-match",
    b"if-modified-since",
    b"if-unmodified-since",
    b"expect",
    b"transfer-encoding",
    b"idempotency-key",
    b"last-event-id",
    b"access-control-request-method",
    b"upgrade",
}
# What Django's answer depends on beside the token and the address.
_KEYED: Final = (b"host", b"accept", b"x-forwarded-proto", b"x-forwarded-host")
_NOT_IN_304: Final = {b"content-type", b"content-length", b"content-encoding"}

# KEYS: the answer, the generations, the counters. ARGV: how many generations, a name for those that are missing and how long
# it lives, then limit and lifetime of each counter. Counts only what it answers; Django counts the rest.
_LOOK: Final = """
local n = tonumber(ARGV[1])
local now = {}
for i = 1, n do
  local name = redis.call('GET', KEYS[1 + i])
  if not name then
    name = ARGV[2] .. i
    redis.call('SET', KEYS[1 + i], name, 'EX', ARGV[3])
  end
  now[i] = name
end
local under = table.concat(now, ' ')
if redis.call('HGET', KEYS[1], 'g') ~= under then return {under} end
for i = n + 2, #KEYS do
  if tonumber(redis.call('GET', KEYS[i]) or '0') >= tonumber(ARGV[2 * (i - n)]) then return {under} end
end
for i = n + 2, #KEYS do
  if redis.call('INCR', KEYS[i]) == 1 then redis.call('EXPIRE', KEYS[i], ARGV[2 * (i - n) + 1]) end
end
local found = redis.call('HMGET', KEYS[1], 'h', 'b')
return {under, found[1], found[2]}
"""


# --- What views say ---------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _CacheTicket:
    """What the view said about its answer."""

    user_id: int = 0
    route: str = ""
    expires_at: float = 0.0


def cache_response(request: HttpRequest, *, user_id: int, expires_at: datetime) -> None:
    """This answer may be given again to this token's owner, until the token expires or a generation changes."""
    ticket = getattr(request, "scope", {}).get(_TICKET)
    if ticket is not None and request.resolver_match is not None:
        ticket.user_id, ticket.expires_at = user_id, expires_at.timestamp()
        ticket.route = request.resolver_match.route


# --- The request ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that may be answered here."""

    key: str
    match: str
    request_id: str


def _asked(scope: Message) -> _Asked | None:
    """What is asked for; None when it is Django's to answer."""
    path: str = scope["path"]
    if scope["method"] != "GET" or not path.startswith("/api/"):
        return None
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _FOR_DJANGO or (name in found and name in _ALONE) or (name == b"content-length" and value != b"0"):
            return None
        found[name] = value
    scheme, _, token = found.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token.translate(None, b"-_").isalnum():
        return None
    encoding = compressor(found.get(b"accept-encoding", b"").decode("latin-1"))[0] or ""
    parts = [
        sha256(token).digest(),
        scope["scheme"].encode(),
        scope.get("root_path", "").encode(),
        path.encode(),
        scope["query_string"],
        encoding.encode(),
        *(found.get(name, b"") for name in _KEYED),
    ]
    digest = blake2b(digest_size=24)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return _Asked(
        f"{PREFIX}answer:{digest.hexdigest()}",
        found.get(b"if-none-match", b"").decode("latin-1"),
        found.get(HEADER.lower().encode(), b"").decode("latin-1"),
    )


_ALONE: Final = {b"authorization", b"accept-encoding", b"if-none-match", b"x-request-id", *_KEYED}


# --- Redis ------------------------------------------------------------------------------------------------------
class _RedisPipeline:
    """What this event loop asks Redis: questions that come while others are on their way go together with the next."""

    def __init__(self) -> None:
        self._client: Redis | None = None
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._closed_until = 0.0

    async def ask(self, *command: Any) -> Any:
        """The answer; None when there is none."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._closed_until:
            return None
        future = loop.create_future()
        self._waiting.append((command, future))
        if self._asking is None:
            self._asking = loop.create_task(self._ask())
        return await future

    async def _ask(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                for (_, future), answer in zip(batch, await self._answers([one for one, _ in batch]), strict=True):
                    if not future.done():  # who asked may have gone
                        future.set_result(None if isinstance(answer, Exception) else answer)
        finally:
            self._asking = None

    async def _answers(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        try:
            if self._client is None:
                self._client = async_redis_client(
                    settings.REDIS_URL,
                    socket_timeout=_TIMEOUT,
                    socket_connect_timeout=_TIMEOUT,
                    retry=Retry(NoBackoff(), 0),
                )
            pipe = self._client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute(raise_on_error=False))
        except (RedisError, OSError, TimeoutError) as error:
            logger.info("kept answers cannot be asked for: %s", error)
            self._closed_until = asyncio.get_running_loop().time() + _PAUSE
            return [None] * len(commands)

    async def aclose(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


_questions: dict[asyncio.AbstractEventLoop, _RedisPipeline] = {}


def questions() -> _RedisPipeline:
    """Those of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _questions.get(loop)
    if found is None:
        for closed in [other for other in _questions if other.is_closed()]:
            del _questions[closed]
        found = _questions[loop] = _RedisPipeline()
    return found


# --- In front of Django -----------------------------------------------------------------------------------------
class ResponseCacheMiddleware:
    """ASGI middleware: gives kept answers, and leaves everything else to Django."""

    def __init__(self, application: Application) -> None:
        self._application = application
        # Who asked this before: user and route. The first time is always Django's.
        self._known: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._storing: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        asked = _asked(scope) if scope["type"] == "http" and settings.ANSWERS_KEPT_SECONDS > 0 else None
        if asked is None:
            await self._application(scope, receive, send)
            return
        began = time.perf_counter()
        user_id, route = self._known.get(asked.key, (0, ""))
        generations: bytes | None = None
        if user_id and not has_pending_invalidations():
            found = await _look(asked.key, user_id)
            if found is not None and len(found) == 3 and found[1] is not None:
                await _give(scope, asked, found[1], found[2], user_id, route, began, send)
                return
            generations = found[0] if found else None
        await self._from_django(scope, receive, send, asked, generations)

    async def _from_django(
        self, scope: Message, receive: Receive, send: Send, asked: _Asked, generations: bytes | None
    ) -> None:
        ticket = _CacheTicket()
        start: Mapping[str, Any] = {}
        body: list[bytes] | None = []

        async def heard(message: Mapping[str, Any]) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            elif body is not None and generations:
                body.append(message.get("body", b""))
                if sum(map(len, body)) > _LARGEST:
                    body = None
            await send(message)

        await self._application({**scope, _TICKET: ticket}, receive, heard)
        if not ticket.user_id:
            return
        self._known[asked.key] = (ticket.user_id, ticket.route)
        self._known.move_to_end(asked.key)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        headers = [(name, value) for name, value in start.get("headers", ()) if name.lower() != _ID_HEADER]
        if (
            generations
            and body
            and start.get("status") == 200
            and all(name.lower() != b"set-cookie" for name, _ in headers)
        ):
            task = asyncio.create_task(_keep(asked.key, ticket, generations, headers, b"".join(body)))
            self._storing.add(task)
            task.add_done_callback(self._storing.discard)


_ID_HEADER: Final = HEADER.lower().encode()


async def _look(key: str, user_id: int) -> list[Any] | None:
    generations = [generation_key(template.format(user_id=user_id)) for template in response_generations]
    counters = rate_counters("authenticated", str(user_id))
    found: list[Any] | None = await questions().ask(
        "EVAL",
        _LOOK,
        1 + len(generations) + len(counters),
        key,
        *generations,
        *(one.key for one in counters),
        len(generations),
        secrets.token_hex(8),
        GENERATION_SECONDS,
        *(number for one in counters for number in (one.limit, one.seconds)),
    )
    return found


async def _keep(
    key: str, ticket: _CacheTicket, generations: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    until = min(time.time() + settings.ANSWERS_KEPT_SECONDS, ticket.expires_at)
    text = json.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers])
    # One script: what is stored without its end would stay.
    await questions().ask(
        "EVAL",
        "redis.call('HSET', KEYS[1], 'g', ARGV[1], 'h', ARGV[2], 'b', ARGV[3]) redis.call('PEXPIREAT', KEYS[1], ARGV[4])",
        1,
        key,
        generations,
        text,
        body,
        int(until * 1000),
    )


async def _give(  # noqa: PLR0917  # all of one request
    scope: Message, asked: _Asked, kept: bytes, body: bytes, user_id: int, route: str, began: float, send: Send
) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(kept)]
    status = 200
    if asked.match and _matches(asked.match, headers):
        status, body = 304, b""
        headers = [(name, value) for name, value in headers if name.lower() not in _NOT_IN_304]
        headers.append((b"Content-Length", b"0"))
    client = scope.get("client")
    identity = answered_in_front(
        given_id=asked.request_id,
        user_id=user_id,
        route=route,
        path=scope["path"],
        status=status,
        milliseconds=round((time.perf_counter() - began) * 1000, 1),
        client=client[0] if client else "",
    )
    headers.append((HEADER.encode(), identity.encode()))
    metrics.HTTP_REQUESTS.labels("GET", route, status).inc()
    metrics.HTTP_SECONDS.labels("GET", route).observe(time.perf_counter() - began)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _matches(match: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether `If-None-Match` names this answer; weak validators say the same."""
    tag = next((value.decode("latin-1") for name, value in headers if name.lower() == b"etag"), "")
    named = parse_etags(match)
    return bool(tag) and (named == ["*"] or tag.removeprefix("W/") in {one.removeprefix("W/") for one in named})
