"""Error reports to Sentry, if `SENTRY_DSN` is set: what failed and where, without personal data.

No bodies, cookies, headers with secrets, query strings, local variables or SQL parameters are sent; a user is an id.
All remaining text passes the redaction of the logs. Request and task ids are tags, so an event can be matched with its
log lines.
"""

from typing import Any, Final, cast

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint

from kamioi_site.db.outage import is_database_away
from kamioi_site.http.request_context import context_ids
from kamioi_site.observability.logs import redact, redact_nested

# Headers that help with a diagnosis and contain no personal data.
_HEADERS: Final = {"host", "accept", "content-type", "content-length", "user-agent", "x-request-id"}
# Data of a breadcrumb that is not personal. SQL is in its message, without parameters.
_BREADCRUMB_DATA: Final = {"status_code", "method", "http.method", "reason"}


def init_sentry() -> None:
    """Start reporting errors, if there is a DSN."""
    if not settings.SENTRY_DSN:
        return
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        environment=settings.SENTRY_ENVIRONMENT,
        release=settings.SENTRY_RELEASE or None,
        # Listed explicitly: the integration of an installed library could leak data, as openai's would send prompts.
        default_integrations=True,
        auto_enabling_integrations=False,
        integrations=[DjangoIntegration(), CeleryIntegration(), LoggingIntegration(event_level=None)],
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        traces_sample_rate=float(settings.SENTRY_TRACES_SAMPLE_RATE),
        before_send=scrub_event,
        before_send_transaction=scrub_event,
        before_breadcrumb=_scrub_breadcrumb,
    )


def scrub_event(event: Event, hint: Hint) -> Event | None:
    """Remove personal data from the event, and add our ids. A database that is away is dropped: alerts report it."""
    if is_database_away((hint.get("exc_info") or (None, None))[1]):
        return None
    request = cast("dict[str, Any] | None", event.get("request"))
    if request is not None:
        headers = {name: value for name, value in (request.get("headers") or {}).items() if name.lower() in _HEADERS}
        event["request"] = {
            "method": request.get("method"),
            "url": str(request.get("url", "")).partition("?")[0],
            "headers": headers,
        }
    user = event.get("user") or {}
    event["user"] = {"id": str(user["id"])} if user.get("id") else {}
    ids = context_ids()
    if "user_id" in ids:
        event["user"] = {"id": str(ids.pop("user_id"))}
    event.pop("server_name", None)
    # The integrations for Celery and for the command line add arguments.
    for part in ("extra", "modules"):
        event.pop(part, None)  # type: ignore[misc]
    contexts = event.get("contexts") or {}
    event["contexts"] = {name: contexts[name] for name in ("trace", "runtime", "os") if name in contexts}
    for span in cast("list[dict[str, Any]]", event.get("spans") or []):
        span.pop("data", None)
    scrubbed: Event = _redact_event(event)
    scrubbed["tags"] = {**(scrubbed.get("tags") or {}), **{name: str(value) for name, value in ids.items()}}
    return scrubbed


def _scrub_breadcrumb(crumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb:
    data = crumb.get("data") or {}
    crumb["data"] = {name: value for name, value in data.items() if name in _BREADCRUMB_DATA}
    if "message" in crumb:
        crumb["message"] = redact(str(crumb["message"]))
    return crumb


# Values set by Sentry: its ids look like account numbers.
_UNREDACTED_KEYS: Final = {
    "event_id",
    "timestamp",
    "start_timestamp",
    "trace_id",
    "span_id",
    "parent_span_id",
    "platform",
    "sdk",
    "type",
}


def _redact_event(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: item if (key in _UNREDACTED_KEYS and isinstance(item, str)) or key == "sdk" else _redact_event(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redact_event(item) for item in value]
    return redact_nested(value) if isinstance(value, str) else value
