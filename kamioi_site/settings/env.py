"""Read typed settings from the environment; an invalid value raises ImproperlyConfigured.

Every helper takes the variable's name and a default. A secret may be given as `NAME_FILE`, the path of a file
that holds it (Docker and Kubernetes secrets), so that it never appears in a process list.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from kamioi_site.observability.logs import register_secret

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


def env_str(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def env_secret(name: str, default: str = "") -> str:
    """Read a secret from `NAME` or from the file `NAME_FILE`; logs redact it."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return register_secret(os.environ.get(name, default))
    try:
        return register_secret(Path(path).read_text(encoding="utf-8").strip())
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error}") from error


def env_choice(name: str, choices: Sequence[str]) -> str:
    """Read one of the choices; the first is the default."""
    value = os.environ.get(name, choices[0])
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value


def env_bool(name: str, default: bool = False) -> bool:
    """Read `1/true/yes/on` or `0/false/no/off`, in any case."""
    value = os.environ.get(name)
    if value is None:
        return default
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}")


def env_int(name: str, default: int) -> int:
    value = os.environ.get(name)
    if value is None:
        return default
    try:
        if not re.fullmatch(r"\s*-?[0-9]+\s*", value):
            raise ValueError(value)
        return int(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}") from error


def env_decimal(name: str, default: str) -> Decimal:
    value = os.environ.get(name, default)
    try:
        if not value.isascii() or "_" in value:
            raise InvalidOperation
        return Decimal(value)
    except InvalidOperation as error:
        raise ImproperlyConfigured(f"{name} must be a number, not {value!r}") from error


def env_list(name: str, default: str = "") -> list[str]:
    """Read comma-separated values; blank ones are dropped."""
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def env_networks(name: str, default: str = "") -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Read comma-separated networks such as `10.0.0.0/8`, or single addresses."""
    try:
        return [ipaddress.ip_network(part) for part in env_list(name, default)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be networks such as 10.0.0.0/8: {error}") from error
