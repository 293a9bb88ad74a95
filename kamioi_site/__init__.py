"""The project: settings, URLs, Celery, embedded servers, database helpers and API conventions."""
