"""Bearer tokens: who calls the API, how they log in and out.

Only a token's SHA-256 is stored. A token that is unknown, expired or revoked, or whose user is no longer active, is
401 with one and the same text.
"""

from typing import Final

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from kamioi_site.auth.two_factor import check_login
from kamioi_site.db.prepared import prepared_statement
from transactions.models import ApiToken, User


class BearerTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The caller and their token, in one query; None when the request carries no bearer token."""
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != b"bearer":
            return None
        token = _live_token(parts[1]) if len(parts) == 2 else None
        if token is None:
            raise AuthenticationFailed("The token is not valid or has expired.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Bearer"


class QueryTokenAuthentication(BearerTokenAuthentication):
    """`?admin_token=<token>`, for the one poll that the legacy front end makes without a header.

    An address is written into logs, so no view takes a token there but the one that says so.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The caller and their token; None when the query has none."""
        raw = request.query_params.get("admin_token")
        if not raw:
            return None
        token = _live_token(raw.encode("utf-8", "replace"))
        if token is None:
            raise AuthenticationFailed("The token is not valid or has expired.")
        return token.user, token


def _live_token(raw: bytes) -> ApiToken | None:
    try:
        digest = ApiToken.digest_of(raw.decode("ascii"))
    except UnicodeDecodeError:
        return None
    with prepared_statement(_LIVE_TOKEN, [digest, timezone.now()]) as cursor:
        row = cursor.fetchone()
    if row is None:
        return None
    token: ApiToken = ApiToken.from_db("default", _TOKEN_COLUMNS, row[: len(_TOKEN_COLUMNS)])
    token.user = User.from_db("default", _USER_COLUMNS, row[len(_TOKEN_COLUMNS) :])
    return token


# Every request of the API asks this: one text, compiled once.
_TOKEN_COLUMNS: Final = [field.attname for field in ApiToken._meta.concrete_fields]
_USER_COLUMNS: Final = [field.attname for field in User._meta.concrete_fields]
_LIVE_TOKEN: Final = (
    f"SELECT {', '.join(f't.{name}' for name in _TOKEN_COLUMNS)}, {', '.join(f'u.{name}' for name in _USER_COLUMNS)} "  # noqa: S608
    "FROM api_tokens t JOIN users u ON u.id = t.user_id "
    "WHERE t.digest = %s AND t.expires_at > %s AND t.revoked_at IS NULL AND u.is_active"
)


def log_in(request: Request, *, email: str, password: str, staff_only: bool, code: str = "") -> tuple[User, str] | None:
    """The user of these credentials and a new token for them; None when they are wrong.

    Django hashes the password for an unknown e-mail too, so the time does not tell whether somebody is registered.

    Args:
        code: of the authenticator app, which staff who have one are asked for whatever area they log in to.

    Raises:
        OtpRequiredError: the code is missing, or wrong (InvalidOtpError).
        OtpSetupRequiredError: staff need a second factor here and have none.
    """
    user = authenticate(request._request, username=email, password=password)
    if not isinstance(user, User) or (staff_only and not user.is_staff):
        return None
    check_login(user=user, code=code)
    _, token = ApiToken.issue(user=user)
    user_logged_in.send(sender=User, request=request._request, user=user)
    return user, token


def revoke_token(token: ApiToken) -> None:
    """The token stops working now; revoking twice keeps the first time."""
    ApiToken.objects.filter(pk=token.pk).revoke()
