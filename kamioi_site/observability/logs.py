"""Log lines: plain for a developer, one JSON object a line in production; with the ids of request, task and user.

No line holds a secret, a token, a password, an e-mail address or a whole account number. Code does not log them in the
first place; `redact` is the last line of defence, over the finished message, traceback included. It hides what looks
like one, and every secret that the settings read (`hide`).
"""

import logging
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pythonjsonlogger.json import JsonFormatter

HIDDEN: Final = "[hidden]"
# Secrets shorter than this are not searched for: they would be found in ordinary words.
_SHORTEST_SECRET: Final = 8
# Attributes that a call may pass in `extra` and that are written. Everything else stays out: libraries attach whole
# requests and arguments of tasks to their records.
EXTRAS: Final = ("method", "route", "status", "ms", "client")

_secrets: set[str] = set()
_source_of_ids: Callable[[], dict[str, Any]] = dict

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # PostgreSQL shows the row that broke a rule.
    (re.compile(r"(DETAIL:|Failing row contains).*"), rf"\1 {HIDDEN}"),
    (re.compile(r"(\w+://)[^/\s:@\"']*:[^/\s@\"']+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"(?i)([\"']?\b[\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|session_?id|csrf\w*|cookie"
            r"|authorization|signature|credential)(?!s)[\w-]*[\"']?\s*[:=]\s*)([\"']?)(?!\[hidden\])[^\s\"'&,;})]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(?:sk|pk|rk)-[\w-]{16,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), HIDDEN),
    (re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"), HIDDEN),
    # Cards in groups, account and card numbers, phones: the last four say enough.
    (re.compile(r"(?<![\w.-])\d{4}[ -]\d{4}[ -]\d{4}[ -](\d{4})(?![\w-])"), r"…\1"),
    (re.compile(r"(?<![\w.:-])\+?\d{5,15}(\d{4})(?![\w-]|\.\d)"), r"…\1"),
    (re.compile(r"\b(?:USR-)?[IFB]\d{3}(\d{4})\b"), r"…\1"),
)


def hide(secret: str) -> str:
    """Never let this text into a log; of an address only its password. Returns it."""
    password = urlsplit(secret).password if "://" in secret else secret
    if password:
        _secrets.update(text for text in (password, unquote(password)) if len(text) >= _SHORTEST_SECRET)
    return secret


def take_ids_from(source: Callable[[], dict[str, Any]]) -> None:
    """Write what this function returns to every line from now on."""
    global _source_of_ids  # noqa: PLW0603  # once a process, by `kamioi_site.http.request_context`, which needs Django
    _source_of_ids = source


def redact(text: str) -> str:
    """The text without what must not be in a log."""
    for secret in _secrets:
        text = text.replace(secret, HIDDEN)
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def redact_all(value: Any) -> Any:
    """The same for every text within lists and mappings."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_all(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_all(item) for item in value]
    return value


class PlainLines(logging.Formatter):
    """For people: time, level, logger, message, and the ids at the end."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted."""
        ids = " ".join(f"{name}={value}" for name, value in _source_of_ids().items())
        record.ids = f"  [{ids}]" if ids else ""
        return redact(super().format(record))


class JsonLines(JsonFormatter):
    """For machines: `at`, `level`, `logger`, `message`, `error`, the ids, and what `EXTRAS` names."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Only what is named here is written."""
        log_data["at"] = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z"
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = redact(record.getMessage())
        log_data.update(_source_of_ids())
        for name in EXTRAS:
            if name in record.__dict__:
                log_data[name] = redact_all(record.__dict__[name])
        if error := message_dict.get("exc_info"):
            log_data["error"] = redact_all(error)
        if stack := message_dict.get("stack_info"):
            log_data["stack"] = redact_all(stack)


def logging_config(*, style: str, level: str, access: bool = True) -> dict[str, Any]:
    """Configuration for Django, Celery and gunicorn alike: everything to standard error through one redacting formatter.

    Args:
        style: `json` or `plain`.
        level: of the root logger.
        access: whether every request is a line.
    """
    handled = {"handlers": ["console"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {
                "()": "kamioi_site.observability.logs.PlainLines",
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s%(ids)s",
            },
            "json": {"()": "kamioi_site.observability.logs.JsonLines"},
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": style}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "kamioi.access": {} if access else {"level": "WARNING"},
            # Django's own handler would mail and print beside ours.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            # uvicorn's worker takes over the handlers of gunicorn's loggers.
            "gunicorn.error": handled | {"level": level},
            # Its lines hold query strings; `kamioi.access` says the same without.
            "gunicorn.access": {"handlers": [], "propagate": False},
            "uvicorn.access": {"handlers": [], "propagate": False},
            # One line a request of a model or a price: the address, which may hold a key.
            "axes": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
        },
    }
