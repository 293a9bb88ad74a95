"""Conventions of the API that every room keeps: one error shape, body limits, rate limits, keyset pages.

- Every refusal is `{"success": false, "error": "text"}`, with `errors: {field: [texts]}` when fields are to blame.
- Views derive from `ApiView`. A refused log-in or token counts against the caller's rate limit like an answer does.
- Rates stand in `settings.API_RATES` (scope → list of `count/period`); an empty list lifts the limit. The counters
  live in Redis. When they cannot be read a request goes through, but for scopes that must not be guessed at (log-in).
- A page is found by the key of the last row seen, never by an offset; its cursor is signed and bound to its list.
- What no column can hold (NUL, half of a surrogate pair, a number wider than its column) is refused here, before a view
  sees it: 400, or 404 where it stands in the address.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, connections
from django.db.models import Field, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.utils.datastructures import MultiValueDict
from django.views import defaults
from django_ratelimit import core as ratelimit
from redis import RedisError
from rest_framework import exceptions, serializers, status
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView, set_rollback

from kamioi_site.cache.redis import redis_client
from kamioi_site.errors import KamioiError, error_body

logger = logging.getLogger(__name__)

RowT = TypeVar("RowT", bound=Model)

PAGE_SIZE = 100
PAGE_SIZE_MAX = 500
# What a caller is told to wait when the counters of a guarded scope cannot be read, in seconds.
_COUNTER_AWAY_WAIT = 30.0


# --- Errors -----------------------------------------------------------------------------------------------------
class PayloadTooLarge(exceptions.APIException):
    """The request is larger than this address accepts."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request is larger than this address accepts."
    default_code = "too_large"


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: an exception of a view as a reply, or None for a bug (which becomes a 500 and is logged)."""
    headers: dict[str, str] = {}
    errors: dict[str, list[str]] = {}
    match exc:
        case KamioiError():
            code, message = exc.status_code, str(exc)
        case exceptions.ValidationError():
            code, errors = exc.status_code, _field_errors(exc.detail)
            message = _first(errors)
        case DjangoValidationError():
            code, errors = status.HTTP_400_BAD_REQUEST, _field_errors(_django_messages(exc))
            message = _first(errors)
        case exceptions.APIException():
            code, message = exc.status_code, str(exc.detail)
            if header := getattr(exc, "auth_header", None):
                headers["WWW-Authenticate"] = header
            if (wait := getattr(exc, "wait", None)) is not None:
                headers["Retry-After"] = str(int(wait))
        case Http404():
            code, message = status.HTTP_404_NOT_FOUND, "Not found."
        case PermissionDenied():
            code, message = status.HTTP_403_FORBIDDEN, "You may not do this."
        case RequestDataTooBig():
            code, message = PayloadTooLarge.status_code, PayloadTooLarge.default_detail
        case SuspiciousOperation():  # too many fields, a file name that is a path …
            code, message = status.HTTP_400_BAD_REQUEST, "The request is not valid."
        case DataError():
            # A value that no column can hold got past a serializer: the caller's to change, ours to notice.
            logger.warning("a value reached the database that it cannot hold: %s", exc)
            code, message = status.HTTP_400_BAD_REQUEST, "A value of the request is out of range."
        case _:
            return None
    set_rollback()
    return Response(error_body(message, errors), status=code, headers=headers)


def _django_messages(exc: DjangoValidationError) -> Any:
    return exc.message_dict if hasattr(exc, "error_dict") else exc.messages


def _field_errors(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """DRF's nested details as one level: `{"items.3.amount": ["A valid number is required."]}`."""
    if isinstance(detail, Mapping):
        parts = list(detail.items())
    elif isinstance(detail, list) and any(isinstance(item, (Mapping, list)) for item in detail):
        parts = list(enumerate(detail))
    else:
        texts = [str(item) for item in detail] if isinstance(detail, list) else [str(detail)]
        return {prefix or "non_field_errors": texts} if texts else {}
    return {
        name: texts
        for key, value in parts
        for name, texts in _field_errors(value, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _first(errors: dict[str, list[str]]) -> str:
    for field, texts in errors.items():
        return texts[0] if field in {"non_field_errors", "__all__"} else f"{field}: {texts[0]}"
    return "The request is not valid."


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404 of an unknown address: JSON under /api/, the usual page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("Not found."), status=404)
    return defaults.page_not_found(request, exception or Http404())


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400 before any view was found: JSON under /api/, the usual page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("The request is not valid."), status=400)
    return defaults.bad_request(request, exception or SuspiciousOperation())


def server_error(request: HttpRequest) -> HttpResponse:
    """500: JSON under /api/, the usual page elsewhere. What went wrong stands in the log only."""
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("Something went wrong on our side."), status=500)
    return defaults.server_error(request)


# --- The schema -------------------------------------------------------------------------------------------------
_ERROR_DESCRIPTIONS = {
    "400": "What was sent cannot be used.",
    "401": "Log in.",
    "403": "Not allowed.",
    "404": "Not found, or not yours.",
    "413": "The request is too large.",
    "415": "Nobody here reads this kind of body.",
    "429": "Too many requests; `Retry-After` says when to come back.",
}


def document_error_responses(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """A hook of drf-spectacular: the refusals that every address of a kind may answer, where a view does not name them itself."""
    if "ErrorOutput" not in result.get("components", {}).get("schemas", {}):
        return result
    shape = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOutput"}}}
    for methods in result["paths"].values():
        for method, operation in methods.items():
            places = {parameter["in"] for parameter in operation.get("parameters", ())}
            secured = any(operation.get("security", ()))
            codes = {"429"}
            codes |= {"400"} if places & {"query", "header"} or "requestBody" in operation else set()
            codes |= {"404"} if "path" in places else set()
            codes |= {"400", "413", "415"} if "requestBody" in operation else set()
            codes |= {"401"} if secured else set()
            codes |= {"403"} if secured and method not in {"get", "head"} else set()  # a session without its CSRF token
            for code in sorted(codes - set(operation["responses"])):
                operation["responses"][code] = {"content": shape, "description": _ERROR_DESCRIPTIONS[code]}
    return result


# --- Rate limits ------------------------------------------------------------------------------------------------
# Counts one request in every window, each of which goes when it is over.
_COUNT: Final = """
local counts = {}
for i, key in ipairs(KEYS) do
  counts[i] = redis.call('INCR', key)
  if counts[i] == 1 then redis.call('EXPIRE', key, ARGV[i]) end
end
return counts
"""


class RateCounter(NamedTuple):
    """Where the requests of one caller in the present window of one rate are counted."""

    key: str
    limit: int
    seconds: int  # how long the counter is kept
    window_end: int


def rate_counters(scope: str, value: str) -> list[RateCounter]:
    """The counters of a caller (an id, an address) for every rate of the scope: windows and keys are django-ratelimit's."""
    if not getattr(settings, "RATELIMIT_ENABLE", True):
        return []
    found = []
    for rate in settings.API_RATES[scope]:
        limit, period = ratelimit._split_rate(rate)
        window = ratelimit._get_window(value, period)
        key = ratelimit._make_cache_key(f"api:{scope}", window, rate, value, None)
        found.append(RateCounter(cache.make_key(key), limit, period + ratelimit.EXPIRATION_FUDGE, window))
    return found


class RateLimitThrottle(BaseThrottle):
    """Counts requests with django-ratelimit against the rates of `settings.API_RATES`.

    Anonymous callers are counted by address (IPv6 by /64), others by user. A view may name its own scope in
    `rate_scope`; its requests count there and nowhere else.
    """

    fail_open = True
    _wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count the request; False when a rate is exceeded."""
        known = bool(request.user and request.user.is_authenticated)
        scope = getattr(view, "rate_scope", None) or ("authenticated" if known else "anonymous")
        return self.count(request, scope=scope, key="user" if known else "ip")

    def count(self, request: Request | HttpRequest, *, scope: str, key: Any) -> bool:
        """Count one request under `key` against every rate of the scope; False when one is exceeded."""
        if not settings.API_RATES[scope]:
            return True
        value = key(scope, request) if callable(key) else ratelimit._SIMPLE_KEYS[key](request)
        counters = rate_counters(scope, value)
        if not counters:
            return True
        try:
            counts: Any = redis_client().eval(
                _COUNT, len(counters), *(one.key for one in counters), *(one.seconds for one in counters)
            )
        except RedisError:
            if self.fail_open:
                return True
            self._wait = _COUNTER_AWAY_WAIT
            return False
        for counter, count in zip(counters, counts, strict=True):
            if count > counter.limit:
                self._wait = max(self._wait or 0.0, 1.0, float(counter.window_end - int(time.time())))
        return self._wait is None

    def wait(self) -> float | None:
        """Seconds until the longest of the exceeded windows ends."""
        return self._wait


# --- Input ------------------------------------------------------------------------------------------------------
ID_MAX = 2**63 - 1
"""The largest id that a column holds."""


class IdField(serializers.IntegerField):
    """The id of a row."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=ID_MAX, **options)


def _contains_invalid_text(value: Any) -> bool:
    """Whether a text is in it that PostgreSQL cannot hold."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            if "\0" in one or (not one.isascii() and any("\ud800" <= letter <= "\udfff" for letter in one)):
                return True
        elif isinstance(one, Mapping):
            stack += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple)):
            stack += one
    return False


class ValidatedRequest(Request):
    """A request whose body holds nothing that cannot be stored.

    A list is left to its view, which reports bad items one by one.
    """

    def _parse(self) -> Any:
        try:
            data, files = super()._parse()  # type: ignore[misc]  # DRF's own, which the stubs leave out
            body = dict(data.lists()) if isinstance(data, QueryDict) else data
            if isinstance(body, Mapping) and _contains_invalid_text(body):
                raise exceptions.ParseError("The body holds NUL or characters that are no text.")
            for file in files.values() if files else ():
                if _contains_invalid_text(file.name):
                    raise exceptions.ParseError("The name of the file is not text.")
        except (exceptions.APIException, RecursionError) as error:
            # As DRF does: whoever asks again gets an empty body instead of a second parse of a stream that is read.
            self._data, self._files = QueryDict(""), MultiValueDict[str, Any]()
            self._full_data = self._data
            if isinstance(error, RecursionError):
                raise exceptions.ParseError("The body is nested too deeply.") from error
            raise
        return data, files


class ApiView(APIView):
    """Base of every view of the API: limits of body and rate, input that can be stored, the documented error shape."""

    throttle_classes = [RateLimitThrottle]
    rate_scope: str | None = None

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """The request with its body checked."""
        return ValidatedRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def max_body_bytes(self, request: Request) -> int | None:
        """Bytes that the body of this request may have, None for any number."""
        return settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Leave what was read of the body where the audit trail looks for the rows it names."""
        inner = getattr(request, "_request", None)
        if inner is not None:
            inner.audit_data = request.__dict__.get("_full_data")
        return super().finalize_response(request, response, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse a body that is too large before a byte of it is parsed."""
        # DRF's parsers read the stream past Django's own check. Without a Content-Length DRF reads nothing.
        limit = self.max_body_bytes(request)
        if limit is not None and int(request.META.get("CONTENT_LENGTH") or 0) > limit:
            raise PayloadTooLarge(f"The request is larger than the {limit:,} bytes this address accepts.")
        super().initial(request, *args, **kwargs)
        for value in kwargs.values():
            if (isinstance(value, int) and value > ID_MAX) or _contains_invalid_text(value):
                raise Http404
        for name, texts in request.query_params.lists():
            if _contains_invalid_text([name, *texts]):
                raise exceptions.ValidationError({"query": ["The query holds NUL or characters that are no text."]})

    def perform_authentication(self, request: Request) -> None:
        """Find the caller; a refused token counts against the caller's address."""
        try:
            super().perform_authentication(request)
        except exceptions.AuthenticationFailed:
            self.check_throttles(request)
            raise

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> NoReturn:
        """Refuse; a refusal counts against the rate like an answer does."""
        self.check_throttles(request)
        super().permission_denied(request, message=message, code=code)


class _OwnTypeRenderer(BaseRenderer):
    """Lets callers ask for what a view makes by itself; only refusals come here, and they are JSON."""

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return JSONRenderer().render(data)


class FileView(ApiView):
    """Base of views that answer with something else than JSON, which they make and stream themselves."""

    answers = ("*/*", "file")
    """Media type, and its name for `?format=`."""

    def get_renderers(self) -> list[BaseRenderer]:
        """JSON, and what this view answers with."""
        own = _OwnTypeRenderer()
        own.media_type, own.format = self.answers
        return [JSONRenderer(), own]

    def handle_exception(self, exc: Exception) -> Response:
        """A refusal is JSON, whatever was asked for."""
        reply = super().handle_exception(exc)
        self.request.accepted_renderer, self.request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return reply


# --- Keyset pages -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """Rows of one page and the cursor of the next, None on the last."""

    rows: list[RowT]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.next_cursor is not None


def page_limit(request: Request) -> int:
    """`?limit=` of a list, 1 to 500, 100 when absent."""
    text = request.query_params.get("limit") or str(PAGE_SIZE)
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if not 1 <= limit <= PAGE_SIZE_MAX:
        raise exceptions.ValidationError({"limit": [f"A whole number from 1 to {PAGE_SIZE_MAX} is needed."]})
    return limit


SCAN_ROWS = 20_000
"""A page that is sieved looks at so many rows at most."""


@dataclass(frozen=True, slots=True)
class ResidualFilter:
    """A condition that no index serves: SQL over the columns of the list's table, with its parameters."""

    condition: str
    parameters: tuple[Any, ...]


def keyset_page(
    rows: QuerySet[RowT, RowT],
    *,
    time_field: str,
    cursor: str | None,
    limit: int,
    scope: str,
    sieve: ResidualFilter | None = None,
) -> Page[RowT]:
    """One page of `rows`, newest first by (`time_field`, id), from just after `cursor` on.

    `scope` names the list and whose it is: a cursor of another list or person is refused with 400. The cost does not
    depend on how far the page is from the first, and rows added meanwhile shift nothing. With a `sieve` a page looks at
    `SCAN_ROWS` rows at most, so it may be short, or empty, while there are more.
    """
    if cursor:
        at, last_id = decode_cursor(cursor, scope)
        # The plain bound on the time lets PostgreSQL skip the later months; the rest only breaks ties.
        rows = rows.filter(Q(**{f"{time_field}__lt": at}) | Q(pk__lt=last_id), **{f"{time_field}__lte": at})
    ordered = rows.order_by(f"-{time_field}", "-pk")
    found = list(ordered[: limit + 1]) if sieve is None else _filtered_scan(ordered, sieve, time_field, limit + 1)
    page = found[:limit]
    last = (getattr(page[-1], time_field), page[-1].pk) if len(found) > limit else None
    if last is None and sieve is not None:
        last = _scan_end(ordered, time_field)
    return Page(page, encode_cursor(*last, scope) if last else None)


def _filtered_scan(rows: QuerySet[RowT, RowT], sieve: ResidualFilter, time_field: str, limit: int) -> list[RowT]:
    """The first rows that pass, among the first `SCAN_ROWS`; the inner limit keeps PostgreSQL from any other plan."""
    inner, parameters = rows[:SCAN_ROWS].query.sql_with_params()
    time, pk = _columns(rows, time_field)
    sql = (
        f"SELECT * FROM ({inner}) AS scanned WHERE {sieve.condition} "  # noqa: S608  # names and conditions are ours
        f"ORDER BY {time} DESC, {pk} DESC LIMIT {limit:d}"
    )
    return list(rows.model._default_manager.using(rows.db).raw(sql, [*parameters, *sieve.parameters]))


def _columns(rows: QuerySet[RowT, RowT], time_field: str) -> tuple[str, str]:
    field = rows.model._meta.get_field(time_field)
    assert isinstance(field, Field)  # noqa: S101  # a relation has no moment
    return str(field.column), str(rows.model._meta.pk.column)


def _scan_end(rows: QuerySet[RowT, RowT], time_field: str) -> tuple[datetime, int] | None:
    """The last row that a sieved page looked at; None when it saw the end of the list."""
    inner, parameters = rows.values(time_field, rows.model._meta.pk.name)[:SCAN_ROWS].query.sql_with_params()
    time, pk = _columns(rows, time_field)
    with connections[rows.db].cursor() as cursor:
        cursor.execute(
            f"SELECT {time}, {pk}, count(*) OVER () FROM ({inner}) AS scanned ORDER BY {time}, {pk} LIMIT 1",  # noqa: S608
            parameters,
        )
        found = cursor.fetchone()
    return (found[0], found[1]) if found and found[2] == SCAN_ROWS else None


def encode_cursor(at: datetime, pk: int, scope: str) -> str:
    """The cursor of what follows this row in the list of this scope."""
    return signing.Signer(salt=f"cursor:{scope}").sign_object([at.isoformat(), pk])


def decode_cursor(cursor: str, scope: str) -> tuple[datetime, int]:
    """The row that it follows. Raises ValidationError: it is of another list, or of nobody."""
    try:
        at, pk = signing.Signer(salt=f"cursor:{scope}").unsign_object(cursor)
    except (signing.BadSignature, ValueError) as error:
        raise exceptions.ValidationError({"cursor": ["This cursor is not one of this list."]}) from error
    return datetime.fromisoformat(at), int(pk)
