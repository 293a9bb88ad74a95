"""The project: settings, URLs, Celery, embedded servers, database helpers and the conventions of the API."""
