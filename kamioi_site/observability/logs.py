"""Log formats: plain text for development, one JSON object per line in production; with request, task and user ids.

No line contains a secret, a token, a password, an e-mail address or a complete account number. Code does not log them
in the first place; `redact` is the last line of defence, over the finished message including the traceback. It removes
what looks like one, and every secret that the settings register (`register_secret`).
"""

import logging
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pythonjsonlogger.json import JsonFormatter

REDACTED: Final = "[hidden]"
# Shorter secrets are not redacted: they would match ordinary words.
_SHORTEST_SECRET: Final = 8
# Attributes from `extra` that are written. Everything else is left out: libraries attach whole requests and task
# arguments to their records.
EXTRAS: Final = ("method", "route", "status", "ms", "client", "seal")

_secrets: set[str] = set()
_id_source: Callable[[], dict[str, Any]] = dict

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # PostgreSQL includes the row that violates a constraint.
    (re.compile(r"(DETAIL:|Failing row contains).*"), rf"\1 {REDACTED}"),
    (re.compile(r"(\w+://)[^/\s:@\"']*:[^/\s@\"']+@"), rf"\1{REDACTED}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {REDACTED}"),
    (
        re.compile(
            r"(?i)([\"']?\b[\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|session_?id|csrf\w*|cookie"
            r"|authorization|signature|credential)(?!s)[\w-]*[\"']?\s*[:=]\s*)([\"']?)(?!\[hidden\])[^\s\"'&,;})]+"
        ),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(r"\b(?:sk|pk|rk)-[\w-]{16,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REDACTED),
    (re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"), REDACTED),
    # Grouped card numbers, account numbers, phone numbers: keep the last four digits.
    (re.compile(r"(?<![\w.-])\d{4}[ -]\d{4}[ -]\d{4}[ -](\d{4})(?![\w-])"), r"…\1"),
    (re.compile(r"(?<![\w.:-])\+?\d{5,15}(\d{4})(?![\w-]|\.\d)"), r"…\1"),
    (re.compile(r"\b(?:USR-)?[IFB]\d{3}(\d{4})\b"), r"…\1"),
)


def register_secret(secret: str) -> str:
    """Redact this text in every log line, of a URL only its password; returns the text."""
    password = urlsplit(secret).password if "://" in secret else secret
    if password:
        _secrets.update(text for text in (password, unquote(password)) if len(text) >= _SHORTEST_SECRET)
    return secret


def set_id_source(source: Callable[[], dict[str, Any]]) -> None:
    """Add the ids that this function returns to every line from now on."""
    global _id_source  # noqa: PLW0603  # set once per process by `kamioi_site.http.request_context`, which needs Django
    _id_source = source


def redact(text: str) -> str:
    """Return the text without anything that must not be logged."""
    for secret in _secrets:
        text = text.replace(secret, REDACTED)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_nested(value: Any) -> Any:
    """Redact every text in nested lists and mappings."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_nested(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_nested(item) for item in value]
    return value


class PlainFormatter(logging.Formatter):
    """Plain text: time, level, logger, message, and the ids at the end."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted line."""
        ids = " ".join(f"{name}={value}" for name, value in _id_source().items())
        record.ids = f"  [{ids}]" if ids else ""
        return redact(super().format(record))


class JsonLinesFormatter(JsonFormatter):
    """JSON: `at`, `level`, `logger`, `message`, `error`, the ids, and the attributes in `EXTRAS`."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Write these fields and no others."""
        log_data["at"] = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z"
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = redact(record.getMessage())
        log_data.update(_id_source())
        for name in EXTRAS:
            if name in record.__dict__:
                log_data[name] = redact_nested(record.__dict__[name])
        if error := message_dict.get("exc_info"):
            log_data["error"] = redact_nested(error)
        if stack := message_dict.get("stack_info"):
            log_data["stack"] = redact_nested(stack)


def logging_config(*, style: str, level: str, access: bool = True) -> dict[str, Any]:
    """Return the configuration for Django, Celery and gunicorn: everything to stderr through one redacting formatter.

    Args:
        style: `json` or `plain`.
        level: of the root logger.
        access: whether every request is logged.
    """
    handled = {"handlers": ["console"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {
                "()": "kamioi_site.observability.logs.PlainFormatter",
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s%(ids)s",
            },
            "json": {"()": "kamioi_site.observability.logs.JsonLinesFormatter"},
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": style}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "kamioi.access": {} if access else {"level": "WARNING"},
            # Django's own handlers would send e-mails and print each line twice.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            # uvicorn's worker uses the handlers of gunicorn's loggers.
            "gunicorn.error": handled | {"level": level},
            # Its lines contain query strings; `kamioi.access` logs the same without them.
            "gunicorn.access": {"handlers": [], "propagate": False},
            "uvicorn.access": {"handlers": [], "propagate": False},
            # One line per request to a model or price provider: its URL may contain a key.
            "axes": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
        },
    }
