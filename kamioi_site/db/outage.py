"""Distinguish a database that is away, which is answered with 503, from a query that is wrong, which is a bug."""

from typing import Final

from django.db import InterfaceError, OperationalError

# SQLSTATEs of a server that does not serve: connection exceptions (also of PgBouncer, whose server is away), too many
# connections, and shutdown, crash or start of the server.
_AWAY: Final = ("08", "53300", "57P01", "57P02", "57P03")

DATABASE_AWAY: Final = "The service is temporarily unavailable. Try again in a few seconds."
DATABASE_AWAY_RETRY_SECONDS: Final = 5


def is_database_away(error: BaseException | None) -> bool:
    """Whether the error means that PostgreSQL, or PgBouncer in front of it, could not be reached or went away."""
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    code: str | None = getattr(error.__cause__, "pgcode", None)
    # Without a code, no server reported the error: the connection failed or broke.
    return code is None or code.startswith(_AWAY)
