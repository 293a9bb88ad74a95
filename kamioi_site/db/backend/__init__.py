"""The base of the database engine (`POSTGRES_EXTRA_DB_BACKEND_BASE`): a connection pool that survives forks."""
