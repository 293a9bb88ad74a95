"""Errors to Sentry, when `SENTRY_DSN` names one: what broke and where, never whose data it was about.

No bodies, cookies, headers with secrets, query strings, local variables or SQL values leave the house; a user is a
number. Every text that is left goes through the redaction of the logs. Ids of request and task are tags, so an event
and its log lines find each other.
"""

from typing import Any, Final, cast

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint

from kamioi_site.http.request_context import context_ids
from kamioi_site.observability.logs import redact, redact_all

# Headers that tell something about a fault and nothing about a person.
_HEADERS: Final = {"host", "accept", "content-type", "content-length", "user-agent", "x-request-id"}
# Of a breadcrumb's data, what is no one's. An SQL statement stands in its message, without values.
_CRUMBS: Final = {"status_code", "method", "http.method", "reason"}


def start() -> None:
    """Report errors from now on; nothing without a DSN."""
    if not settings.SENTRY_DSN:
        return
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        environment=settings.SENTRY_ENVIRONMENT,
        release=settings.SENTRY_RELEASE or None,
        # Named, so that a library that happens to be installed adds none: the one for openai would send prompts.
        default_integrations=True,
        auto_enabling_integrations=False,
        integrations=[DjangoIntegration(), CeleryIntegration(), LoggingIntegration(event_level=None)],
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        traces_sample_rate=float(settings.SENTRY_TRACES_SAMPLE_RATE),
        before_send=scrubbed,
        before_send_transaction=scrubbed,
        before_breadcrumb=_crumb,
    )


def scrubbed(event: Event, hint: Hint) -> Event:
    """The event without anything of a person, and with our ids."""
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
    # The integration for Celery adds the arguments of the task, that for the command line its arguments.
    for part in ("extra", "modules"):
        event.pop(part, None)  # type: ignore[misc]
    contexts = event.get("contexts") or {}
    event["contexts"] = {name: contexts[name] for name in ("trace", "runtime", "os") if name in contexts}
    for span in cast("list[dict[str, Any]]", event.get("spans") or []):
        span.pop("data", None)
    clean: Event = _redacted(event)
    clean["tags"] = {**(clean.get("tags") or {}), **{name: str(value) for name, value in ids.items()}}
    return clean


def _crumb(crumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb:
    data = crumb.get("data") or {}
    crumb["data"] = {name: value for name, value in data.items() if name in _CRUMBS}
    if "message" in crumb:
        crumb["message"] = redact(str(crumb["message"]))
    return crumb


# Parts whose texts are Sentry's own: an id of 32 digits is no account number.
_KEPT: Final = {
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


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: item if (key in _KEPT and isinstance(item, str)) or key == "sdk" else _redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return redact_all(value) if isinstance(value, str) else value
