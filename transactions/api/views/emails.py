"""Verifying an e-mail address, and cancelling its change."""

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import MessageOutput
from kamioi_site.api.views import ApiView
from transactions.api.base import current_user, validated
from transactions.api.serializers import ResetTokenInput
from transactions.api.throttling import GuardedRateLimit
from transactions.services.email_addresses import queue_account_email, use_email_token


class _LinkView(ApiView):
    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = [GuardedRateLimit]
    rate_scope = "reset"


class VerifyEmailView(_LinkView):
    @extend_schema(request=ResetTokenInput, responses={200: MessageOutput}, auth=[], tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Verify the address that the token was sent to. Purchases on hold for it are processed.

        400 for an expired or unknown token.
        """
        use_email_token(token=validated(ResetTokenInput(data=request.data))["token"], purpose="verify")
        return Response({"success": True, "message": "Your e-mail address is verified."})


class CancelEmailChangeView(_LinkView):
    @extend_schema(request=ResetTokenInput, responses={200: MessageOutput}, auth=[], tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Cancel the change of the address, by the token sent to the old one. 400 once it has taken effect."""
        use_email_token(token=validated(ResetTokenInput(data=request.data))["token"], purpose="cancel")
        return Response({"success": True, "message": "Your e-mail address stays the same."})


class ResendVerificationView(ApiView):
    throttle_classes = [GuardedRateLimit]
    rate_scope = "reset"
    email_scope = "reset_email"

    @extend_schema(request=None, responses={200: MessageOutput}, tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Send the links again that the account waits for: for its address, and for a new one."""
        user = current_user(request)
        if user.email_verified_at is None:
            queue_account_email("verify", user)
        if user.pending_email and user.pending_email_verified_at is None:
            queue_account_email("verify_new", user)
        return Response({"success": True, "message": "If a verification is open, you will receive a link."})
