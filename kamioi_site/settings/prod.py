"""Production: nothing has a working default that should be a decision or a secret."""

from kamioi_site.observability.logs import logging_config
from kamioi_site.settings.base import *  # noqa: F403
from kamioi_site.settings.base import (
    ALLOWED_HOSTS,
    LOG_ACCESS,
    LOG_LEVEL,
    SECRET_KEY,
    ImproperlyConfigured,
    env_bool,
    env_int,
    env_str,
)

if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY (or SECRET_KEY_FILE) must be set in production")
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must be set in production")
if "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts in production; * would take any")

SECURE_SSL_REDIRECT = env_bool("SECURE_SSL_REDIRECT", True)
# Orchestrators and Prometheus ask the process itself, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
# gunicorn's uvicorn workers take scheme and address from the proxies of FORWARDED_ALLOW_IPS, and from nobody else.
# Only under another server, behind a proxy that always sets it, is a header to be named here: X-Forwarded-Proto.
if _header := env_str("SECURE_PROXY_SSL_HEADER"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_" + _header.upper().replace("-", "_"), "https")
SECURE_HSTS_SECONDS = env_int("SECURE_HSTS_SECONDS", 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env_bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", True)
SECURE_HSTS_PRELOAD = env_bool("SECURE_HSTS_PRELOAD", True)
# __Host-: a browser takes such a cookie only over TLS and from this very host, never from a sibling domain.
SESSION_COOKIE_NAME = "__Host-sessionid"
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrftoken"
CSRF_COOKIE_SECURE = True

LOG_FORMAT = env_str("LOG_FORMAT", "json")
LOGGING = logging_config(style=LOG_FORMAT, level=LOG_LEVEL, access=LOG_ACCESS)
