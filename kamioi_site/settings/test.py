"""Settings of tests: real PostgreSQL and Redis, a fast password hasher, no manifest for static files."""

import os
from pathlib import Path

from kamioi_site.settings.base import *  # noqa: F403
from kamioi_site.settings.base import KAMIOI_HOME, PASSWORD_HASHERS, STORAGES, env_str

SECRET_KEY = "only-for-tests-" + "x" * 40
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *PASSWORD_HASHERS]
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
MARKET_ALWAYS_OPEN = True
PRICE_CSV_UNDATED = True
SETTLEMENT_PROVIDER = "paper"
PURCHASE_HISTORY_DAYS = 36_500  # statements in tests have fixed dates
CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
PASSWORD_RESET_URL = f"{CORS_ALLOWED_ORIGINS[0]}/reset-password"
# A worker started by a test shares the files of the test.
MEDIA_ROOT = Path(env_str("MEDIA_ROOT") or KAMIOI_HOME / "test-media" / str(os.getpid()))
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = True  # tests do not run collectstatic
