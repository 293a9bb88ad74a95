"""Settings of every environment; `dev`, `test` and `prod` override a few.

`DATABASE_URL` and `REDIS_URL` come from the environment. If they are not set, manage.py starts embedded servers
(`kamioi_site.local.embedded_servers`) and sets them before Django reads this file.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from corsheaders.defaults import default_headers
from csp import constants as csp
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from kamioi_site.cache.redis import cache_settings, celery_options, celery_url
from kamioi_site.messaging.broker import broker_settings
from kamioi_site.observability.logs import logging_config
from kamioi_site.settings.env import (
    env_bool,
    env_choice,
    env_decimal,
    env_int,
    env_list,
    env_networks,
    env_secret,
    env_str,
)

BASE_DIR = Path(__file__).resolve().parent.parent.parent
KAMIOI_HOME = Path(env_str("KAMIOI_HOME") or BASE_DIR / ".kamioi")

DEBUG = False
SECRET_KEY = env_secret("SECRET_KEY")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.import_export",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "psqlextra",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "import_export",
    "waffle",
    "corsheaders",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "kamioi_site",
    "transactions",
    "llm_center",
    "analytics",
]

MIDDLEWARE = [
    "kamioi_site.http.request_context.RequestContextMiddleware",
    "kamioi_site.observability.metrics.web.RequestMetricsMiddleware",
    "kamioi_site.http.health.HealthCheckHostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "kamioi_site.http.load_shedding.LoadSheddingMiddleware",
    "kamioi_site.http.body_limits.BodyLimitMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "kamioi_site.http.compression.CompressionMiddleware",
    "kamioi_site.http.staff_ip_allowlist.StaffIPAllowlistMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "kamioi_site.auth.staff_sessions.StaffSessionMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "kamioi_site.auth.two_factor.TwoFactorMiddleware",
    "kamioi_site.db.replica.ReadYourWrites",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "kamioi_site.http.csp.ContentSecurityPolicyMiddleware",
    "transactions.audit.AuditMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "kamioi_site.urls"
# Requests that a web process handles at the same time; each holds a database connection while it needs one.
WEB_THREADS = env_int("WEB_THREADS", 8)
# Seconds that a request may wait for a thread before it is refused; 0 is no limit.
WEB_WAIT_SECONDS = env_int("WEB_WAIT_SECONDS", 5)
ASGI_APPLICATION = "kamioi_site.asgi.application"
WSGI_APPLICATION = "kamioi_site.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["kamioi_site.http.csp.FilesystemLoader", "kamioi_site.http.csp.AppDirectoriesLoader"],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- Database ---------------------------------------------------------------------------------------------------------
DATABASE_URL = env_secret("DATABASE_URL")
if not DATABASE_URL:
    raise ImproperlyConfigured(
        "DATABASE_URL is not set. Start through manage.py or `make run` (they start embedded servers), or set it."
    )
# The role that owns the schema and runs migrations, see kamioi_site/db/roles.py; without it DATABASE_URL does both.
MIGRATION_DATABASE_URL = env_secret("MIGRATION_DATABASE_URL")
# Behind PgBouncer's transaction pooling, session state does not outlive its transaction.
PGBOUNCER = env_bool("PGBOUNCER")
_connection: dict[str, Any] = {
    "ENGINE": "psqlextra.backend",  # on top of POSTGRES_EXTRA_DB_BACKEND_BASE, our pool
    "CONN_MAX_AGE": 0,  # the pool keeps the connections
    "DISABLE_SERVER_SIDE_CURSORS": PGBOUNCER,  # they end with their transaction
    "POOL_OPTIONS": {
        "POOL_SIZE": env_int("DATABASE_POOL_SIZE", 20),
        "MAX_OVERFLOW": env_int("DATABASE_POOL_OVERFLOW", 40),
        "TIMEOUT": env_int("DATABASE_POOL_WAIT", 30),
        "RECYCLE": env_int("DATABASE_POOL_RECYCLE", 3600),
        "PRE_PING": True,
    },
}
DATABASES: dict[str, Any] = {"default": dj_database_url.parse(DATABASE_URL) | _connection}
# A streaming standby for analytics reads, see kamioi_site/db/replica.py.
if REPLICA_URL := env_secret("REPLICA_URL"):
    _replica: dict[str, Any] = dict(dj_database_url.parse(REPLICA_URL))
    DATABASES["replica"] = (
        _replica
        | _connection
        | {
            "ENGINE": "kamioi_site.db.replica_backend",
            # A complete result cannot break off halfway. The tables read here have a row per day, not per purchase.
            "DISABLE_SERVER_SIDE_CURSORS": True,
            # Notice within seconds that the server vanished.
            "OPTIONS": {
                "connect_timeout": 2,
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
                # PgBouncer does not forward options; behind it the standby itself refuses writes.
                **({} if PGBOUNCER else {"options": "-c default_transaction_read_only=on"}),
                **_replica.get("OPTIONS", {}),
            },
            "TEST": {"MIRROR": "default"},
        }
    )
DATABASE_ROUTERS = ["kamioi_site.db.replica.ReplicaRouter"]
REPLICA_MAX_LAG_SECONDS = env_int("REPLICA_MAX_LAG_SECONDS", 10)
REPLICA_WATCH_SECONDS = env_int("REPLICA_WATCH_SECONDS", 2)  # maximum age of the measured lag
REPLICA_RETRY_SECONDS = env_int("REPLICA_RETRY_SECONDS", 10)  # pause after a failure
POSTGRES_EXTRA_AUTO_EXTENSION_SET_UP = False  # the embedded server ships no hstore, and nothing needs it
POSTGRES_EXTRA_DB_BACKEND_BASE = "kamioi_site.db.backend"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis and Celery -------------------------------------------------------------------------------------------------
REDIS_URL = env_secret("REDIS_URL")
if not REDIS_URL:
    raise ImproperlyConfigured("REDIS_URL is not set. Start through manage.py or `make run`, or set it.")

CACHES: dict[str, Any] = {"default": cache_settings(REDIS_URL)}

# redis, sentinel or amqp, see kamioi_site/messaging/broker.py
BROKER_URL = env_secret("CELERY_BROKER_URL") or REDIS_URL
_broker = broker_settings(
    BROKER_URL,
    queues=("ai", "transactions", "analytics", "notifications", "bulk"),
    quorum=env_bool("CELERY_QUORUM_QUEUES"),
)
CELERY_BROKER_URL = _broker.url
CELERY_BROKER_TRANSPORT_OPTIONS = _broker.transport_options
CELERY_TASK_QUEUES = _broker.queues
CELERY_TASK_DEFAULT_PRIORITY = _broker.priority(6)
CELERY_RESULT_BACKEND = celery_url(REDIS_URL)
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = celery_options(REDIS_URL)
CELERY_RESULT_EXPIRES = timedelta(days=1)
CELERY_TASK_IGNORE_RESULT = True  # results that users see are in the table `background_tasks`
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# A message whose task kills its process is redelivered three times and then dropped; otherwise it would kill one
# process after another. The sweeps find the work that is left.
CELERY_TASK_RETRY_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 270
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1000
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "transactions"
CELERY_TASK_ROUTES = {
    task: {"queue": queue}
    for queue, tasks in {
        "transactions": (
            "collect_round_ups correct_purchases execute_queued_orders process_backlog process_selected "
            "process_transaction process_transactions release_merchants settle_held_purchases settle_positions "
            "sweep_stuck undo_decision"
        ),
        "ai": "decide_merchants match_merchants process_llm_queue recheck_directory refit_calibration run_llm_queue",
        "analytics": (
            "calculate_analytics check_ledger count_ledger expire_idempotency_keys "
            "legacy_dual_write maintain_partitions monthly_llm_amortization refresh_prices seal_ledger "
            "verify_ledger"
        ),
        "notifications": "apply_due_email_changes send_account_email send_invitation send_password_reset",
        "bulk": (
            "delete_expired_rows erase_person expire_uploads export_person import_mappings ingest_statement "
            "make_monthly_statements make_report make_statements preview_statement rebuild_indexes "
            "remove_duplicates undo_statement"
        ),
    }.items()
    for task in tasks.split()
}
# A background task without a heartbeat for TASK_SILENCE counts as dead; one that no worker started within
# TASK_UNANSWERED is sent again.
TASK_SILENCE = timedelta(seconds=env_int("TASK_SILENCE_SECONDS", 120))
TASK_UNANSWERED = timedelta(seconds=env_int("TASK_UNANSWERED_SECONDS", 60))
CELERY_BEAT_SCHEDULER = "kamioi_site.messaging.beat:Scheduler"
CELERY_BEAT_SYNC_EVERY = 1  # what was sent is written down at once: health checks and alerts read it
# A migration creates the schedule in django-celery-beat's tables; staff change it in the admin.

# --- Users ------------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "transactions.User"
AUTHENTICATION_BACKENDS = [
    "kamioi_site.auth.login_throttling.LockoutBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# Wrong passwords per e-mail and address; the other limits are in kamioi_site.auth.login_throttling.
AXES_FAILURE_LIMIT = env_int("LOGIN_FAILURES", 5)
AXES_COOLOFF_TIME = timedelta(minutes=env_int("LOGIN_COOL_OFF_MINUTES", 15))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # further attempts do not extend it
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False  # replaced by our own admin
AXES_VERBOSE = False
AXES_USERNAME_FORM_FIELD = "username"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "code", "otp"]
AXES_USERNAME_CALLABLE = "kamioi_site.auth.login_throttling.login_name"
AXES_CLIENT_IP_CALLABLE = "kamioi_site.auth.login_throttling.client_address"
AXES_LOCKOUT_CALLABLE = "kamioi_site.auth.login_throttling.lockout_response"
# Staff must set up a second factor before they can use the admin.
STAFF_OTP_REQUIRED = env_bool("STAFF_OTP_REQUIRED")
STAFF_SESSION_IDLE = timedelta(minutes=env_int("STAFF_SESSION_IDLE_MINUTES", 60))
# Since the log-in; also the lifetime of API tokens of staff.
STAFF_SESSION_LIFETIME = timedelta(hours=env_int("STAFF_SESSION_HOURS", 12))
OTP_TOTP_ISSUER = "Kamioi"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    # Passwords of the legacy system; rehashed with the first hasher at the next login.
    "transactions.password_hashers.WerkzeugPasswordHasher",
    "transactions.password_hashers.Sha256InScryptPasswordHasher",
]
PASSWORD_LENGTH_MIN = 10
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": PASSWORD_LENGTH_MIN},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# A flag that does not exist is on: flags switch features off.
WAFFLE_FLAG_DEFAULT = True
WAFFLE_ENABLE_ADMIN_PAGES = False  # replaced by our own admin
# Without these, import and export pages of the admin are open to all staff.
IMPORT_EXPORT_IMPORT_PERMISSION_CODE = "change"
IMPORT_EXPORT_EXPORT_PERMISSION_CODE = "view"
API_TOKEN_LIFETIME = timedelta(hours=env_int("API_TOKEN_HOURS", 24 * 14))
PASSWORD_RESET_TIMEOUT = 60 * env_int("PASSWORD_RESET_MINUTES", 60)
# The front end's page that the e-mail links to; it sends the token back. If empty, the e-mail contains only the token.
PASSWORD_RESET_URL = env_str("PASSWORD_RESET_URL")
# The front end's page that verification and cancellation e-mails link to; if empty, this site's own page.
EMAIL_LINK_URL = env_str("EMAIL_LINK_URL")
EMAIL_LINK_LIFETIME = timedelta(hours=env_int("EMAIL_LINK_HOURS", 72))
# How long the old address can cancel a change of the e-mail address.
EMAIL_CHANGE_DELAY = timedelta(hours=env_int("EMAIL_CHANGE_DELAY_HOURS", 24))
TERMS_VERSION = env_str("TERMS_VERSION", "1")  # stored with each customer who agrees
# Targets of the links in other e-mails: the front end's statements page, and this site.
STATEMENTS_URL = env_str("STATEMENTS_URL", "http://localhost:3000/statements")
SITE_URL = env_str("SITE_URL", "http://localhost:8000").rstrip("/")

# --- E-mail -----------------------------------------------------------------------------------------------------------
EMAIL_HOST = env_str("EMAIL_HOST")
# Without a mail server, e-mails are printed.
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_PORT = env_int("EMAIL_PORT", 587)
EMAIL_HOST_USER = env_str("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env_secret("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS", True)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env_str("DEFAULT_FROM_EMAIL", "Kamioi <no-reply@localhost>")

# Networks that may access the admin and the staff API; empty allows all.
STAFF_NETWORKS = env_networks("STAFF_NETWORKS")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [csp.SELF],
        "script-src": [csp.SELF, csp.NONCE],
        "style-src": [csp.SELF, csp.NONCE],
        "img-src": [csp.SELF, "data:"],
        "object-src": [csp.NONE],
        "base-uri": [csp.SELF],
        "form-action": [csp.SELF],
        "frame-ancestors": [csp.NONE],
    }
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = ["kamioi_site.formats"]
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = Path(env_str("STATIC_ROOT") or KAMIOI_HOME / "static")
MEDIA_ROOT = Path(env_str("MEDIA_ROOT") or KAMIOI_HOME / "media")  # private: uploaded statements, never served directly
SEALS_FILE = env_str("SEALS_FILE")  # a copy of the seals outside the database; none if empty
STORAGES = {
    "default": {"BACKEND": "kamioi_site.storage.WholeFileStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "kamioi_site.storage.ClosingUploadHandler",
]
# Largest bodies; the addresses of the others are in kamioi_site/http/body_limits.py.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
JSON_LIST_MAX_BYTES = 2 * 1024 * 1024
STATEMENT_MAX_BYTES = env_int("STATEMENT_MAX_BYTES", 512 * 1024 * 1024)
# Statements up to this size are imported during the request (about a second); larger ones in the background.
STATEMENT_SYNC_BYTES = env_int("STATEMENT_SYNC_BYTES", 256 * 1024)

# --- API --------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "transactions.api.authentication.BearerTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["kamioi_site.api.json_renderer.ExactJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "kamioi_site.api.schema.ApiSchema",
    "EXCEPTION_HANDLER": "kamioi_site.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "COERCE_DECIMAL_TO_STRING": False,
    "URL_FORMAT_OVERRIDE": None,  # the media type is chosen by `Accept` only
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Kamioi API",
    "DESCRIPTION": "Round-up investing: own what you buy.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    # The docs page works without internet access.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "ImportStatus": "transactions.models.StatementImport.State",
        "ListedStatus": "transactions.api.legacy.statuses.ListedStatus",
        "SettingType": "transactions.models.Setting.Type",
        "TransactionKind": ["purchase", "refund"],
        "TransactionStatus": "transactions.models.Transaction.Status",
        "TaskStatus": "transactions.models.BackgroundTask.Status",
    },
}
# Paths whose views may authorize event streams, see kamioi_site/http/event_streams.py.
EVENT_STREAM_PATHS = r"/api/tasks/[0-9a-fA-F-]{36}/events|/admin/llm_center/reviewmerchant/live/"
# Limits of open event streams in one web process: per client, and in total.
EVENT_STREAMS_PER_CALLER = env_int("EVENT_STREAMS_PER_CALLER", 20)
EVENT_STREAMS_MAX = env_int("EVENT_STREAMS_MAX", 20_000)
# Scope → rates as `count/period`, which all apply; an empty variable disables the limit (benchmarks). Limits by address
# are large, because many customers may share one; limits by account protect it from many addresses.
API_RATES = {
    "anonymous": env_list("API_RATE_ANONYMOUS", "50/h,200/d"),
    "authenticated": env_list("API_RATE_AUTHENTICATED", "6000/m"),
    "dashboard": env_list("API_RATE_DASHBOARD", "10/m"),
    "lookup": env_list("API_RATE_LOOKUP", "60/m"),  # of tickers without a token, by address
    "login": env_list("API_RATE_LOGIN", "300/h"),  # by address
    "login_email": env_list("API_RATE_LOGIN_EMAIL", "10/15m"),  # by account
    "register": env_list("API_RATE_REGISTER", "60/h"),  # by address
    "reset": env_list("API_RATE_RESET", "300/h"),  # by address
    "reset_email": env_list("API_RATE_RESET_EMAIL", "5/h"),  # by account
    # What the legacy front end asks without a token, by address.
    "check_email": env_list("API_RATE_CHECK_EMAIL", "60/h"),
    "quotes": env_list("API_RATE_QUOTES", "60/m"),
}
IDEMPOTENCY_KEY_LIFETIME = timedelta(hours=env_int("IDEMPOTENCY_KEY_HOURS", 24))

# Origins of front ends on other hosts, such as `https://app.example.com`. Tokens and cookies are allowed.
CORS_ALLOWED_ORIGINS = env_list("CORS_ALLOWED_ORIGINS")
CORS_ALLOW_CREDENTIALS = True
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = [
    *default_headers,
    "idempotency-key",
    "if-none-match",
    "x-request-id",
    "last-event-id",
    "cache-control",
    # Of the legacy front end, which sends both of its tokens at once.
    "x-user-token",
    "x-admin-token",
]
CORS_EXPOSE_HEADERS = ["ETag", "Retry-After", "Idempotency-Replayed", "Content-Disposition", "X-Request-ID"]

# --- Monitoring -------------------------------------------------------------------------------------------------------
# /metrics requires the token, or a direct connection (not through a proxy) from one of these networks.
METRICS_TOKEN = env_secret("METRICS_TOKEN")
METRICS_ALLOWED_NETWORKS = env_networks("METRICS_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128")
SENTRY_DSN = env_secret("SENTRY_DSN")  # receives errors, without personal data; empty disables it
SENTRY_ENVIRONMENT = env_str("SENTRY_ENVIRONMENT", "production")
SENTRY_RELEASE = env_str("SENTRY_RELEASE")
SENTRY_TRACES_SAMPLE_RATE = env_decimal("SENTRY_TRACES_SAMPLE_RATE", "0")  # share of requests that are traced
SLOW_STATEMENT_SECONDS = env_int("SLOW_STATEMENT_SECONDS", 5)  # slower SQL is logged, without values; 0 disables it

# --- Kamioi -----------------------------------------------------------------------------------------------------------
EXECUTION_PRICE_MAX_AGE = timedelta(minutes=env_int("EXECUTION_PRICE_MAX_AGE_MINUTES", 15))  # in trading hours
PRICE_MAX_AGE = timedelta(hours=env_int("PRICE_MAX_AGE_HOURS", 96))  # a long weekend
MARKET_ALWAYS_OPEN = env_bool("MARKET_ALWAYS_OPEN")
PRICE_PROVIDER = env_choice("PRICE_PROVIDER", ("csv", "http", ""))  # "": none, purchases wait for a price
PRICE_CSV_PATH = env_str("PRICE_CSV_PATH", str(BASE_DIR / "transactions" / "data" / "demo_quotes.csv"))
# Whether a quote of the file may lack its time and counts as of now: for the demo, whose file would be too old.
PRICE_CSV_UNDATED = False
PRICE_API_URL = env_str("PRICE_API_URL")
PRICE_ALLOW_HTTP = env_bool("PRICE_ALLOW_HTTP")  # http to other machines, such as a service in the same cluster
PRICE_API_KEY = env_secret("PRICE_API_KEY")
# A quote that changes by more than this factor is rejected; 0 accepts any.
PRICE_MAX_JUMP = env_decimal("PRICE_MAX_JUMP", "4")
SETTLEMENT_PROVIDER = env_choice("SETTLEMENT_PROVIDER", ("", "paper"))
PROCESS_BATCH_SIZE = env_int("PROCESS_BATCH_SIZE", 4000)
PURCHASE_HISTORY_DAYS = env_int("PURCHASE_HISTORY_DAYS", 120)  # unless the setting `purchase_history_days` overrides it
PLATFORM_FEE = env_decimal("PLATFORM_FEE", "0.25")  # unless the admin setting `platform_fee` overrides it

LLM_PROVIDER = env_str("LLM_PROVIDER", "matcher")  # matcher | openai, see docs/llm.md
LLM_BASE_URL = env_str("LLM_BASE_URL", "https://api.openai.com/v1")
LLM_ALLOW_HTTP = env_bool("LLM_ALLOW_HTTP")  # http to other machines, such as a model server in the same cluster
LLM_API_KEY = env_secret("LLM_API_KEY")
LLM_MODEL = env_str("LLM_MODEL")
LLM_TIMEOUT = env_int("LLM_TIMEOUT", 60)  # seconds per request
LLM_CONCURRENCY = env_int("LLM_CONCURRENCY", 4)  # concurrent requests per process
LLM_BATCH_SIZE = env_int("LLM_BATCH_SIZE", 25)  # merchants per request, at most 100
LLM_PRICE_INPUT = env_decimal("LLM_PRICE_INPUT", "0")  # dollars per million tokens
LLM_PRICE_OUTPUT = env_decimal("LLM_PRICE_OUTPUT", "0")
LLM_MONTHLY_BUDGET = env_decimal("LLM_MONTHLY_BUDGET", "0")  # dollars per calendar month; 0 disables the limit

UNFOLD = {
    "SITE_TITLE": "Kamioi",
    "SITE_HEADER": "Kamioi",
    "SITE_SUBHEADER": "Own what you buy",
    "SITE_URL": None,
    "SITE_ICON": lambda request: static("kamioi/logo.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("kamioi/logo.svg")}],
    "STYLES": [lambda request: static("kamioi/kamioi.css")],
    "SCRIPTS": [lambda request: static("kamioi/htmx.js")],
    "LOGIN": {"form": "kamioi_site.auth.login_throttling.StaffLoginForm"},
    "ACCOUNT": {"navigation": [{"title": "Two-factor", "link": reverse_lazy("admin-two-factor")}]},
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "analytics.admin_home.home",
    "SIDEBAR": {"show_search": True, "navigation": "kamioi_site.admin.navigation.sidebar"},
}
LOGIN_URL = reverse_lazy("admin:login")

LOG_FORMAT = env_str("LOG_FORMAT", "plain")  # plain | json
LOG_LEVEL = env_str("LOG_LEVEL", "INFO")
LOG_ACCESS = env_str("WEB_ACCESS_LOG") != "off"
LOGGING = logging_config(style=LOG_FORMAT, level=LOG_LEVEL, access=LOG_ACCESS)
