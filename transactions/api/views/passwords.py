"""Resetting and changing passwords."""

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import MessageOutput
from kamioi_site.api.views import ApiView
from transactions.api.base import current_token, current_user, require_password, validated
from transactions.api.serializers import ChangePasswordInput, ForgotInput, ResetInput, ResetTokenInput
from transactions.api.throttling import GuardedRateLimit
from transactions.services.accounts import (
    change_password,
    check_password_reset_token,
    request_password_reset,
    reset_password,
)


class _ResetView(ApiView):
    area: str = "user"
    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = [GuardedRateLimit]
    rate_scope = "reset"


class ForgotPasswordView(_ResetView):
    email_scope = "reset_email"

    @extend_schema(request=ForgotInput, responses={200: MessageOutput}, auth=[], tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Send the e-mail. The response is the same for an unknown address."""
        request_password_reset(email=validated(ForgotInput(data=request.data))["email"])
        return Response(
            {
                "success": True,
                "message": "If this e-mail is registered, you will receive a link to reset your password.",
            }
        )


class VerifyResetTokenView(_ResetView):
    @extend_schema(request=ResetTokenInput, responses={200: MessageOutput}, auth=[], tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Return 400 for a used, expired or unknown token."""
        check_password_reset_token(validated(ResetTokenInput(data=request.data))["token"])
        return Response({"success": True, "message": "The link is valid."})


class ResetPasswordView(_ResetView):
    @extend_schema(request=ResetInput, responses={200: MessageOutput}, auth=[], tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Set the password and end all sessions and tokens of the account. A reset token works once."""
        reset_password(**validated(ResetInput(data=request.data)))
        return Response({"success": True, "message": "Password changed. Please log in."})


class ChangePasswordView(ApiView):
    @extend_schema(request=ChangePasswordInput, responses={200: MessageOutput}, tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Set the password and end the other sessions and tokens of the account."""
        data = validated(ChangePasswordInput(data=request.data))
        require_password(request, data["current_password"])
        change_password(user=current_user(request), new=data["new_password"], keep=current_token(request))
        return Response({"success": True, "message": "Password changed."})
