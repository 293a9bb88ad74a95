"""Registering, logging in and out, and the caller's account. Each area of the front end has the same endpoints."""

from typing import Any, NotRequired, TypedDict

from django.conf import settings
from django.contrib.auth import logout
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import ErrorOutput, MessageOutput, SuccessOutput
from kamioi_site.api.views import ApiView
from kamioi_site.auth.two_factor import OtpRequiredError
from kamioi_site.errors import error_body
from transactions.api.authentication import log_in, revoke_token
from transactions.api.base import current_user, validated
from transactions.api.serializers import LogInInput, RegisterInput
from transactions.api.throttling import GuardedRateLimit, LogInRateLimit
from transactions.models import ApiToken, User
from transactions.services.accounts import register_user


class Account(TypedDict):
    """The user. `role` and `dashboard` are the account type, `admin` for staff under /api/admin/."""

    id: int
    email: str
    name: str
    role: str
    dashboard: str
    account_number: str | None
    permissions: NotRequired[list[str]]


class MeOutput(SuccessOutput):
    user: Account


class LogInOutput(MeOutput):
    """The caller, and the token for `Authorization: Bearer`."""

    token: str


def account(user: User, area: str) -> Account:
    """Return the user as seen in this area."""
    role = "admin" if area == "admin" else user.account_type
    found = Account(
        id=user.pk, email=user.email, name=user.name, role=role, dashboard=role, account_number=user.account_number
    )
    if area == "admin":
        found["permissions"] = sorted(user.get_all_permissions())
    return found


class RegisterView(ApiView):
    area: str = "user"
    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = [GuardedRateLimit]
    rate_scope = "register"

    @extend_schema(request=RegisterInput, responses={201: LogInOutput, 409: ErrorOutput}, auth=[], tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Create an account and a token for it. A registered e-mail is 409."""
        data, now = self.details(request), timezone.now()
        data.setdefault("account_type", "individual" if self.area == "user" else self.area)
        for document in ("terms", "privacy"):
            if data.pop(f"{document}_agreed", False):
                data[f"{document}_agreed_at"] = now
        data["terms_version"] = settings.TERMS_VERSION if "terms_agreed_at" in data else ""
        user = register_user(now=now, **data)
        _, token = ApiToken.issue(user=user)
        return Response(self.payload(user, token), status=status.HTTP_201_CREATED)

    def details(self, request: Request) -> dict[str, Any]:
        """Return the fields of the new account."""
        return validated(RegisterInput(data=request.data))

    def payload(self, user: User, token: str) -> dict[str, object]:
        """Return the body."""
        return {"success": True, "token": token, "user": account(user, self.area)}


class LogInView(ApiView):
    area: str = "user"
    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = [LogInRateLimit]

    def get_authenticate_header(self, request: Request) -> str:
        """Return the scheme, so that DRF answers 401 although the view has no authenticators."""
        return "Bearer"

    @extend_schema(
        request=LogInInput, responses={200: LogInOutput, 401: ErrorOutput, 403: ErrorOutput}, auth=[], tags=["accounts"]
    )
    def post(self, request: Request) -> Response:
        """Log in. An unknown e-mail and a wrong password get the same 401.

        Staff with two-factor authentication send the code as `otp`. The 401 names it if it is missing or wrong.
        """
        data = validated(LogInInput(data=request.data))
        try:
            login = log_in(
                request,
                email=data["email"],
                password=data["password"],
                staff_only=self.area == "admin",
                code=data.get("otp", ""),
            )
        except OtpRequiredError as error:
            return Response(error_body(str(error), {"otp": [str(error)]}), status=error.status_code)
        if login is None:
            raise AuthenticationFailed("Wrong e-mail or password.")
        user, token = login
        return Response({"success": True, "token": token, "user": account(user, self.area)})


class LogOutView(ApiView):
    area: str = "user"

    @extend_schema(request=None, responses={200: MessageOutput}, tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Revoke the token of this request, or end the browser's session."""
        if isinstance(request.auth, ApiToken):
            revoke_token(request.auth)
        else:
            logout(request._request)
        return Response({"success": True, "message": "Logged out."})


class MeView(ApiView):
    area: str = "user"

    @extend_schema(responses={200: MeOutput, 403: ErrorOutput}, tags=["accounts"])
    def get(self, request: Request) -> Response:
        """Return the caller; under /api/admin/ for staff only."""
        user = current_user(request)
        if self.area == "admin" and not user.is_staff:
            raise PermissionDenied("Staff only.")
        return Response({"success": True, "user": account(user, self.area)})
