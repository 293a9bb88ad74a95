"""The customer's profile and settings, the export of their data and the erasure of their account."""

from typing import Annotated, Any, ClassVar
from uuid import UUID

from django.http import FileResponse, Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.payloads import Data, ErrorOutput, MessageOutput, SuccessOutput
from kamioi_site.api.views import ApiView, FileView
from transactions.api.base import QueuedOutput, accepted, current_user, require_password, validated
from transactions.api.idempotency import idempotent
from transactions.api.serializers import ErasureInput, ProfileInput, RoundUpInput, SettingsInput
from transactions.models import BackgroundTask, User
from transactions.selectors import customer
from transactions.services.accounts import get_user_settings, update_profile, update_user_settings
from transactions.services.privacy import export_path, request_erasure, request_export


class ProfileOutput(SuccessOutput):
    profile: customer.Profile


class RoundUpOutput(SuccessOutput):
    """The round-up settings in effect."""

    round_up_amount: int
    round_up_enabled: bool
    round_up_rule: Annotated[str, User.RoundUpRule]


class ErasureOutput(MessageOutput):
    """The account is closed and its erasure continues in the background. All its tokens are revoked."""

    task_id: UUID
    status: Annotated[str, BackgroundTask.Status]


class ProfileView(ETagView):
    @extend_schema(responses={200: ProfileOutput}, tags=["accounts"])
    def get(self, request: Request) -> Response:
        """Return the profile."""
        return Response(self.payload(current_user(request)))

    @extend_schema(request=ProfileInput, responses={200: ProfileOutput, 409: ErrorOutput}, tags=["accounts"])
    def put(self, request: Request) -> Response:
        """Change the given fields. A new e-mail takes effect once it is verified and a day has passed."""
        user, changes = current_user(request), self.changes(request)
        password = changes.pop("current_password", "")
        if User.objects.normalize_email(changes.get("email", user.email).strip()) != user.email:
            require_password(request, password, "Changing the e-mail address requires your current password.")
        return Response(self.payload(update_profile(user=user, changes=changes)))

    def changes(self, request: Request) -> dict[str, Any]:
        """Return the fields to change."""
        return validated(ProfileInput(data=request.data))

    def payload(self, user: User) -> dict[str, object]:
        """Return the body."""
        return {"success": True, "profile": customer.profile(user)}


class RoundUpSettingsView(ETagView):
    @extend_schema(responses={200: RoundUpOutput}, tags=["accounts"])
    def get(self, request: Request) -> Response:
        """Return the settings in effect."""
        return self._response(current_user(request))

    @extend_schema(request=RoundUpInput, responses={200: RoundUpOutput}, tags=["accounts"])
    def put(self, request: Request) -> Response:
        """Change the given settings. Purchases that are already processed keep their round-up."""
        changes = validated(RoundUpInput(data=request.data))
        return self._response(update_profile(user=current_user(request), changes=changes))

    @staticmethod
    def _response(user: User) -> Response:
        body = RoundUpOutput(
            success=True,
            round_up_amount=user.round_up_amount,
            round_up_enabled=user.round_up_enabled,
            round_up_rule=user.round_up_rule,
        )
        return Response(body)


class SettingsView(ETagView):
    # Names under which some front ends nest the settings.
    wrappers: ClassVar[set[str]] = {"settings", "data"}

    @extend_schema(responses={200: Data[dict[str, Any]]}, tags=["accounts"])
    def get(self, request: Request) -> Response:
        """Return all settings."""
        return Response(self.payload(current_user(request)))

    def payload(self, user: User) -> dict[str, Any]:
        """Return the body."""
        return {"success": True, "data": get_user_settings(user)}

    @extend_schema(request=SettingsInput, responses={200: Data[dict[str, Any]]}, tags=["accounts"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Change the given settings."""
        values = request.data
        if not isinstance(values, dict):
            raise ValidationError("Send an object of settings.")
        if len(values) == 1 and {*values} <= self.wrappers and isinstance(inner := next(iter(values.values())), dict):
            values = inner
        update_user_settings(user=current_user(request), values=validated(SettingsInput(data=values)))
        return Response(self.payload(current_user(request)))


class DataExportView(ApiView):
    @extend_schema(request=None, responses={202: QueuedOutput}, tags=["accounts"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Request the file; poll the task, then download it. A pending export is returned instead of a second one."""
        return accepted(request_export(user=current_user(request), actor=current_user(request)))


class DataExportFileView(FileView):
    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY}, tags=["accounts"])
    def get(self, request: Request, task_id: UUID) -> FileResponse:
        """Download the ZIP file, available for a week."""
        user = current_user(request)
        task = BackgroundTask.objects.filter(
            pk=task_id, name="export_person", user=user, arguments__user_id=user.pk
        ).first()
        if task is None or not export_path(task).exists():
            raise Http404
        return FileResponse(export_path(task).open("rb"), as_attachment=True, filename="kamioi-data.zip")


class ErasureView(ApiView):
    @extend_schema(request=ErasureInput, responses={202: ErasureOutput, 409: ErrorOutput}, tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Close the account and erase the personal data, irrevocably. All tokens are revoked.

        409 while orders are waiting, or transactions or files are being processed.
        """
        user = current_user(request)
        require_password(request, validated(ErasureInput(data=request.data))["current_password"])
        task = request_erasure(user=user, actor=user, reason="requested by the user")
        body = ErasureOutput(
            success=True,
            message="Your account is closed. Your personal data is being erased; bookings remain under a number.",
            task_id=task.pk,
            status=task.status,
        )
        return Response(body, status=status.HTTP_202_ACCEPTED)
