"""Settings of production: secrets and deployment decisions have no default."""

from kamioi_site.observability.logs import logging_config
from kamioi_site.settings.base import *  # noqa: F403
from kamioi_site.settings.base import (
    ALLOWED_HOSTS,
    LOG_ACCESS,
    LOG_LEVEL,
    SECRET_KEY,
    ImproperlyConfigured,
    env_bool,
    env_choice,
    env_int,
    env_str,
)

if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY (or SECRET_KEY_FILE) must be set in production")
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must be set in production")
if "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts in production; * would allow any")

# The file of `csv` must be named: the one that Kamioi ships holds invented prices.
PRICE_PROVIDER = env_choice("PRICE_PROVIDER", ("", "csv", "http"))
if PRICE_PROVIDER == "csv" and not env_str("PRICE_CSV_PATH"):
    raise ImproperlyConfigured("PRICE_PROVIDER=csv needs PRICE_CSV_PATH in production: the demo's prices are invented")
if not env_str("PRICE_CSV_PATH"):
    PRICE_CSV_PATH = ""

SECURE_SSL_REDIRECT = env_bool("SECURE_SSL_REDIRECT", True)
# Orchestrators and Prometheus connect to the process directly, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
# gunicorn's uvicorn workers take scheme and address only from the proxies in FORWARDED_ALLOW_IPS. Set this header
# (X-Forwarded-Proto) only for another server behind a proxy that always sets it.
if _header := env_str("SECURE_PROXY_SSL_HEADER"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_" + _header.upper().replace("-", "_"), "https")
SECURE_HSTS_SECONDS = env_int("SECURE_HSTS_SECONDS", 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env_bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", True)
SECURE_HSTS_PRELOAD = env_bool("SECURE_HSTS_PRELOAD", True)
# __Host-: browsers accept such a cookie only over TLS and from this exact host, not from a sibling domain.
SESSION_COOKIE_NAME = "__Host-sessionid"
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrftoken"
CSRF_COOKIE_SECURE = True

LOG_FORMAT = env_str("LOG_FORMAT", "json")
LOGGING = logging_config(style=LOG_FORMAT, level=LOG_LEVEL, access=LOG_ACCESS)
