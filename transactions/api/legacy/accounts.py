"""Signing up and in, profile and settings, as the legacy front end sends and reads them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import ConsentField
from kamioi_site.api.legacy.views import LegacyView, MoreMethods, replying
from transactions.api.authentication import valid_token
from transactions.api.base import current_user, validated
from transactions.api.legacy.forms import FORMS, Details, body
from transactions.api.serializers import ProfileInput, RegisterInput
from transactions.api.views import accounts, passwords, profile
from transactions.models import User


class _WizardInput(RegisterInput):
    """The sign-up wizard does not ask for consent: none is stored. It alone sends a plan."""

    termsAgreed = ConsentField(source="terms_agreed", refusal="You must accept the terms.", required=False)  # noqa: N815


class RegisterView(accounts.RegisterView):
    def details(self, request: Request) -> dict[str, Any]:
        self._sent = Details(request)
        form = _WizardInput if "planId" in request.data else RegisterInput
        return validated(form(data=self._sent.fields))

    def payload(self, user: User, token: str) -> dict[str, object]:
        return super().payload(user, token) | self._sent.save_settings(user)


class ProfileView(profile.ProfileView):
    _sent: Details | None = None

    def changes(self, request: Request) -> dict[str, Any]:
        self._sent = Details(request)
        changes = validated(ProfileInput(data=self._sent.fields))
        # The dialog repeats the e-mail unchanged; elsewhere that withdraws a pending change.
        if self._sent.is_legacy and changes.get("email") == current_user(request).email:
            del changes["email"]
        return changes

    def payload(self, user: User) -> dict[str, object]:
        return super().payload(user) | (self._sent.save_settings(user) if self._sent else {})


class DetailsView(LegacyView, ProfileView):
    """The last steps of signing up: an account is complete when it exists, so only details are stored."""

    http_method_names = ("post", "options")
    post = ProfileView.put


class SettingsView(MoreMethods, profile.SettingsView):
    area: str = "user"
    undocumented = ("PUT",)

    def payload(self, user: User) -> dict[str, Any]:
        shown = {} if self.area == "user" else {"settings": FORMS[self.area].shown(user)}
        return super().payload(user) | shown

    @extend_schema(exclude=True)
    def put(self, request: Request) -> Response:
        return Response(self.payload(FORMS[self.area].save(request)))


class SectionView(LegacyView):
    """A tab of the business settings."""

    section: str = ""

    def get(self, request: Request) -> Response:
        return self._reply(current_user(request))

    def put(self, request: Request) -> Response:
        return self._reply(FORMS[self.section].save(request))

    def _reply(self, user: User) -> Response:
        form = FORMS[self.section]
        return Response({"success": True, form.wrapper: form.shown(user)})


class ChangePasswordView(LegacyView, passwords.ChangePasswordView):
    """The dialog, which repeats the new password."""

    def post(self, request: Request) -> Response:
        sent = body(request)
        if sent.get("confirmPassword", sent.get("newPassword")) != sent.get("newPassword"):
            raise ValidationError({"confirmPassword": ["The new passwords differ."]})
        return super().post(request)


@replying(method="post", authentication_classes=(), permission_classes=[AllowAny], rate_scope="check_email")
def check_email(request: Request) -> dict[str, Any]:
    """Report every e-mail as available: whose is registered stays private, and sign-up refuses it."""
    return {"available": True}


@replying()
def check_all(request: Request) -> dict[str, Any]:
    """Return the owners of `X-User-Token` and `X-Admin-Token`, both in one browser; without either, the caller."""
    user, admin = (_owner(request.headers.get(f"X-{name}-Token", "")) for name in ("User", "Admin"))
    if user is admin is None:
        user = admin = current_user(request)
        user = None if user.is_staff else user
    found = {
        "user": user and accounts.account(user, "user"),
        "admin": accounts.account(admin, "admin") if admin and admin.is_staff else None,
    }
    return {f"has_{name}": account is not None for name, account in found.items()} | found


def _owner(token: str) -> User | None:
    found = valid_token(token.encode("utf-8", "replace")) if token else None
    return found.user if found else None
