"""Bearer tokens: authentication, login and logout.

Only the SHA-256 of a token is stored. An unknown, expired or revoked token, or one of an inactive user, is 401 with
the same message.
"""

from typing import Any, Final

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
        """Return user and token, read in one query; None without a bearer token."""
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != b"bearer":
            return None
        return _authenticated(parts[1] if len(parts) == 2 else b"")

    def authenticate_header(self, request: Request) -> str:
        """Return the scheme that a 401 asks for."""
        return "Bearer"


class QueryTokenAuthentication(BearerTokenAuthentication):
    """`?admin_token=<token>`, for the one poll that the legacy front end makes without a header.

    URLs are logged, so only that view accepts it.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return user and token; None without a token in the query string."""
        token = request.query_params.get("admin_token")
        return _authenticated(token.encode("utf-8", "replace")) if token else None


class FormTokenAuthentication(BearerTokenAuthentication):
    """`admin_token` in a form, for the upload that the legacy front end sends without a header.

    The body has been checked against its size limit by then. The field is removed, so that nothing stores or logs it.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return user and token; None without a form, or without a token in it."""
        if not (request.content_type or "").startswith("multipart/form-data"):
            return None
        tokens: list[str] = []
        forms: tuple[Any, Any] = (request.POST, request.data)  # Django's, without the files, and DRF's
        for form in forms:
            form._mutable = True
            tokens = form.pop("admin_token", tokens)
            form._mutable = False
        return _authenticated(tokens[-1].encode("utf-8", "replace")) if tokens else None


def _authenticated(raw: bytes) -> tuple[User, ApiToken]:
    token = valid_token(raw)
    if token is None:
        raise AuthenticationFailed("The token is invalid or has expired.")
    return token.user, token


def valid_token(raw: bytes) -> ApiToken | None:
    """Return the token with its user; None unless it is valid."""
    try:
        digest = ApiToken.digest_of(raw.decode("ascii"))
    except UnicodeDecodeError:
        return None
    with prepared_statement(_VALID_TOKEN, [digest, timezone.now()]) as cursor:
        row = cursor.fetchone()
    if row is None:
        return None
    token: ApiToken = ApiToken.from_db("default", _TOKEN_COLUMNS, row[: len(_TOKEN_COLUMNS)])
    token.user = User.from_db("default", _USER_COLUMNS, row[len(_TOKEN_COLUMNS) :])
    return token


# Runs with every request, so its SQL is not compiled from a queryset.
_TOKEN_COLUMNS: Final = [field.attname for field in ApiToken._meta.concrete_fields]
_USER_COLUMNS: Final = [field.attname for field in User._meta.concrete_fields]
_VALID_TOKEN: Final = (
    f"SELECT {', '.join(f't.{name}' for name in _TOKEN_COLUMNS)}, {', '.join(f'u.{name}' for name in _USER_COLUMNS)} "  # noqa: S608
    "FROM api_tokens t JOIN users u ON u.id = t.user_id "
    "WHERE t.digest = %s AND t.expires_at > %s AND t.revoked_at IS NULL AND u.is_active"
)


def log_in(request: Request, *, email: str, password: str, staff_only: bool, code: str = "") -> tuple[User, str] | None:
    """Return the user of these credentials and a new token; None when they are wrong.

    Django hashes the password of an unknown e-mail too, so the response time does not reveal who is registered.

    Args:
        code: from the authenticator app of staff with two-factor authentication, required in every area.

    Raises:
        OtpRequiredError: the code is missing, or wrong (InvalidOtpError).
        OtpSetupRequiredError: two-factor authentication is mandatory here and not set up.
    """
    user = authenticate(request._request, username=email, password=password)
    if not isinstance(user, User) or (staff_only and not user.is_staff):
        return None
    check_login(user=user, code=code)
    _, token = ApiToken.issue(user=user)
    user_logged_in.send(sender=User, request=request._request, user=user)
    return user, token


def revoke_token(token: ApiToken) -> None:
    """Revoke the token; a second call keeps the time of the first."""
    ApiToken.objects.filter(pk=token.pk).revoke()
