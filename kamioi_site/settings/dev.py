"""Settings of a developer's machine and the demo: debug off by default, a generated secret key, local hosts only."""

import secrets

from kamioi_site.observability.logs import register_secret
from kamioi_site.settings.base import *  # noqa: F403
from kamioi_site.settings.base import KAMIOI_HOME, STORAGES, env_bool, env_choice, env_list, env_secret, env_str

DEBUG = env_bool("DEBUG")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
# Without the compressed copies, which take most of the time of `collectstatic`.
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
SEALS_FILE = env_str("SEALS_FILE", str(KAMIOI_HOME / "seals.jsonl"))
MARKET_ALWAYS_OPEN = env_bool("MARKET_ALWAYS_OPEN", True)
PRICE_CSV_UNDATED = True
SETTLEMENT_PROVIDER = env_choice("SETTLEMENT_PROVIDER", ("paper", ""))
PASSWORD_RESET_URL = env_str("PASSWORD_RESET_URL", "http://localhost:3000/reset-password")
# Development servers of the front ends.
CORS_ALLOWED_ORIGINS = env_list(
    "CORS_ALLOWED_ORIGINS", "http://localhost:3000,http://localhost:5173,http://127.0.0.1:3000,http://127.0.0.1:5173"
)


def _machine_secret() -> str:
    """Return this machine's random secret key, stored beside the demo's data and never in the repository."""
    path = KAMIOI_HOME / "secret-key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return path.read_text()


SECRET_KEY = env_secret("SECRET_KEY") or register_secret(_machine_secret())
