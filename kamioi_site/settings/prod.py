"""Production: nothing has a working default that should be a decision or a secret."""

from kamioi_site.logs import logging_config
from kamioi_site.settings.base import *  # noqa: F403
from kamioi_site.settings.base import (
    ALLOWED_HOSTS,
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

SECURE_SSL_REDIRECT = env_bool("SECURE_SSL_REDIRECT", True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = env_int("SECURE_HSTS_SECONDS", 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]

LOG_FORMAT = env_str("LOG_FORMAT", "json")
LOGGING = logging_config(style=LOG_FORMAT, level=LOG_LEVEL)
