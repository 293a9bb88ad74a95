"""Accounts over the API: registering, passwords, profile, preferences. Logging in and out is in `views`."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.views import ApiView, RateLimitThrottle
from transactions.api import serializers as shapes
from transactions.api.base import IdempotentView, current_user, errors, validated
from transactions.api.views import AccountView
from transactions.models import ApiToken
from transactions.selectors import customer
from transactions.services.accounts import (
    change_password,
    check_password_reset_token,
    get_user_settings,
    register_user,
    request_password_reset,
    reset_password,
    update_profile,
    update_user_settings,
)
from transactions.services.privacy import request_own_erasure


class GuardedRateLimit(RateLimitThrottle):
    """What must not be done in bulk is counted by address, and by e-mail where the view says so. When nobody can
    count, nothing is done.
    """

    fail_open = False

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the attempt."""
        allowed = self.count(request, scope=view.rate_scope, key="ip")
        if scope := getattr(view, "email_scope", None):
            body = request.data
            email = str(body.get("email", "")).strip().lower() if isinstance(body, dict) else ""
            allowed = self.count(request, scope=scope, key=lambda *_: email) and allowed
        return allowed


class GuardedView(AccountView):
    """Base of what anybody may ask for, but not often."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = [GuardedRateLimit]
    parser_classes = [JSONParser]


class RegisterView(GuardedView):
    """Become a customer."""

    rate_scope = "register"

    @extend_schema(
        request=shapes.RegisterInput,
        responses={201: shapes.LogInOutput} | errors(400, 409, 413),
        auth=[],
        tags=["accounts"],
    )
    def post(self, request: Request) -> Response:
        """A new account, and a token for it. An e-mail that is registered already is 409."""
        data = validated(shapes.RegisterInput(data=request.data))
        now = timezone.now()
        data.setdefault("account_type", "individual" if self.area == "user" else self.area)
        for agreed in ("terms", "privacy"):
            if data.pop(f"{agreed}_agreed"):
                data[f"{agreed}_agreed_at"] = now
        user = register_user(now=now, **data)
        _, token = ApiToken.issue(user=user)
        return Response({"success": True, "token": token, "user": self.person(user)}, status=status.HTTP_201_CREATED)


class ForgotPasswordView(GuardedView):
    """Ask for a mail to set a new password."""

    rate_scope, email_scope = "reset", "reset_email"

    @extend_schema(
        request=shapes.ForgotInput, responses={200: shapes.MessageOutput} | errors(400, 413), auth=[], tags=["accounts"]
    )
    def post(self, request: Request) -> Response:
        """The same answer whether or not somebody is registered."""
        request_password_reset(email=validated(shapes.ForgotInput(data=request.data))["email"])
        return Response(
            {"success": True, "message": "If this e-mail is registered, a link to a new password is on its way."}
        )


class VerifyResetTokenView(GuardedView):
    """Whether a token of a mail still works."""

    rate_scope = "reset"

    @extend_schema(
        request=shapes.ResetTokenInput,
        responses={200: shapes.MessageOutput} | errors(400, 413),
        auth=[],
        tags=["accounts"],
    )
    def post(self, request: Request) -> Response:
        """400 when it is used, expired or none of ours."""
        check_password_reset_token(validated(shapes.ResetTokenInput(data=request.data))["token"])
        return Response({"success": True, "message": "The link is valid."})


class ResetPasswordView(GuardedView):
    """Set a new password by a token of a mail."""

    rate_scope = "reset"

    @extend_schema(
        request=shapes.ResetInput, responses={200: shapes.MessageOutput} | errors(400, 413), auth=[], tags=["accounts"]
    )
    def post(self, request: Request) -> Response:
        """Once per token. Everybody who is logged in to the account is logged out."""
        reset_password(**validated(shapes.ResetInput(data=request.data)))
        return Response({"success": True, "message": "The new password is set. Please log in."})


class ChangePasswordView(ApiView):
    """Change the password."""

    throttle_classes = [GuardedRateLimit]
    rate_scope = "reset"
    parser_classes = [JSONParser]

    @extend_schema(
        request=shapes.ChangePasswordInput,
        responses={200: shapes.MessageOutput} | errors(400, 401, 413),
        tags=["accounts"],
    )
    def post(self, request: Request) -> Response:
        """Every other token of the account ends."""
        data = validated(shapes.ChangePasswordInput(data=request.data))
        keep = request.auth if isinstance(request.auth, ApiToken) else None
        change_password(
            user=current_user(request), current=data["current_password"], new=data["new_password"], keep=keep
        )
        return Response({"success": True, "message": "The password is changed."})


class ErasureView(ApiView):
    """Being forgotten."""

    throttle_classes = [GuardedRateLimit]
    rate_scope = "reset"
    parser_classes = [JSONParser]

    @extend_schema(
        request=shapes.ErasureInput,
        responses={202: shapes.ErasureOutput} | errors(400, 401, 409, 413),
        tags=["accounts"],
    )
    def post(self, request: Request) -> Response:
        """Close the account and erase who it was; it cannot be undone. 202, and every token of the account ends. 409 says why
        not now: orders wait, transactions or files are being processed.
        """
        password = validated(shapes.ErasureInput(data=request.data))["current_password"]
        task = request_own_erasure(user=current_user(request), password=password)
        return Response(
            {
                "success": True,
                "task_id": task.pk,
                "status": task.status,
                "message": "The account is closed. What tells who you are is being erased; the books stay under a number.",
            },
            status=status.HTTP_202_ACCEPTED,
        )


class ProfileView(ETagView):
    """What a customer says about themselves."""

    @extend_schema(responses={200: shapes.ProfileOutput} | errors(401), tags=["accounts"])
    def get(self, request: Request) -> Response:
        """The profile."""
        return Response({"success": True, "profile": customer.profile(current_user(request))})

    @extend_schema(
        request=shapes.ProfileInput,
        responses={200: shapes.ProfileOutput} | errors(400, 401, 409, 413),
        tags=["accounts"],
    )
    def put(self, request: Request) -> Response:
        """Change any of it."""
        changes = validated(shapes.ProfileInput(data=request.data))
        password = changes.pop("current_password", "")
        user = update_profile(user=current_user(request), changes=changes, current_password=password)
        return Response({"success": True, "profile": customer.profile(user)})


class SettingsView(IdempotentView, ETagView):
    """Preferences by name."""

    wrappers: ClassVar[tuple[str, ...]] = ("settings", "data")
    """Names under which some front ends send them."""

    @extend_schema(responses={200: shapes.SettingsOutput} | errors(401), tags=["accounts"])
    def get(self, request: Request) -> Response:
        """All of them."""
        return Response({"success": True, "data": get_user_settings(current_user(request))})

    @extend_schema(
        request=shapes.SettingsInput, responses={200: shapes.SettingsOutput} | errors(400, 401, 413), tags=["accounts"]
    )
    def post(self, request: Request) -> Response:
        """Change those that are named; the others stay."""
        values = request.data
        if not isinstance(values, dict):
            raise ValidationError("Send an object of settings.")
        if (
            len(values) == 1
            and isinstance(inner := next(iter(values.values())), dict)
            and {*values} <= {*self.wrappers}
        ):
            values = inner
        update_user_settings(user=current_user(request), values=validated(shapes.SettingsInput(data=values)))
        return Response({"success": True, "data": get_user_settings(current_user(request))})
