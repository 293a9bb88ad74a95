"""The base of the database engine (`POSTGRES_EXTRA_DB_BACKEND_BASE`): a fork-safe connection pool."""
