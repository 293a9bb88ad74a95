"""Members of family and business accounts, in the words of the legacy front end."""

from dataclasses import asdict
from typing import Any, Final

from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import EmailField
from kamioi_site.api.legacy.views import LegacyView, NotOfferedError, renamed
from kamioi_site.formatting import money
from transactions.api.base import current_user, validated
from transactions.api.legacy.base import LegacyStaffView
from transactions.api.serializers import optional_text
from transactions.models import AccountMember, User
from transactions.selectors.members import MemberRow, member_counts, members_of, memberships_of
from transactions.services.members import end_membership, invite_member, resend_invitation, update_member

# Our words → those of the pages, where they differ. The family pages write all with a capital.
_WORDS: Final[dict[str, str]] = {AccountMember.Status.INVITED: "pending"}
# What the pages send for the one permission that members have.
_VIEW_ONLY: Final[tuple[Any, ...]] = (None, "", [], "view", "View Only")


class MemberInput(serializers.Serializer[Any]):
    email = EmailField(max_length=254)
    name = optional_text(length=150)
    role = serializers.ChoiceField([*AccountMember.Role.values, *AccountMember.Role.labels], required=False)
    permissions = serializers.JSONField(required=False, allow_null=True)

    def validate_role(self, role: str) -> str:
        return role.lower()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Accept that members have no rights."""
        if attrs.pop("permissions", None) not in _VIEW_ONLY:
            raise NotOfferedError("Members cannot act for the account. Choose “View Only”.")
        return attrs


class _MemberView(LegacyView):
    """The words are those of the pages for the type of the caller's account."""

    def row(self, row: MemberRow) -> dict[str, Any]:
        """Return the member with amounts as numbers."""
        member, is_family = row.member, current_user(self.request).account_type == User.AccountType.FAMILY
        words = {"role": member.role, "status": _WORDS.get(member.status, member.status)}
        return renamed("member", row) | {
            "id": member.pk,
            "name": member.name or member.email,
            "email": member.email,
            **{name: word.title() if is_family else word for name, word in words.items()},
            "permissions": "View Only",
            "lastActive": None,  # not shared
            "joinDate": member.answered_at and member.answered_at.date(),
        }

    def answer(self, request: Request, member: AccountMember | None, code: int = 200) -> Response:
        """Return the invited member; 404 for None."""
        if member is None:
            raise Http404
        is_sent = current_user(request).email_verified_at is not None
        message = "Invitation sent." if is_sent else "The invitation waits until you verify your own e-mail address."
        return Response({"success": True, "message": message, "data": _for_card(self.row(MemberRow(member)))}, code)


class MemberListView(_MemberView):
    def get(self, request: Request) -> Response:
        """Return the members of the caller's account, and the accounts that the caller is a member of."""
        rows = [self.row(row) for row in members_of(current_user(request))]
        memberships = [asdict(membership) for membership in memberships_of(current_user(request))]
        # Pages that compute with amounts read `data`.
        members = {"members": [_for_card(row) for row in rows], "data": {"members": rows}}
        return Response({"success": True} | members | {"memberships": memberships})

    def post(self, request: Request) -> Response:
        member = invite_member(owner=current_user(request), **validated(MemberInput(data=request.data)))
        return self.answer(request, member, status.HTTP_201_CREATED)


class MemberView(_MemberView):
    def put(self, request: Request, member_id: int) -> Response:
        changes = validated(MemberInput(data=request.data, partial=True))
        if update_member(owner=current_user(request), member_id=member_id, **changes) is None:
            raise Http404
        return Response({"success": True, "message": "Saved."})

    def delete(self, request: Request, member_id: int) -> Response:
        """Remove a member of the caller's account; with the id of the caller's own membership, leave."""
        if not end_membership(actor=current_user(request), member_id=member_id):
            raise Http404
        return Response({"success": True, "message": "Removed."})


class MemberInviteView(_MemberView):
    def post(self, request: Request, member_id: int) -> Response:
        """Send the invitation again."""
        return self.answer(request, resend_invitation(owner=current_user(request), member_id=member_id))


class StaffMembersView(LegacyStaffView):
    area: str = "family"
    required_permissions = ("transactions.view_user",)

    def get(self, request: Request, user_id: int) -> Response:
        """Return how many members the account has, by state and role. Parents count as admins."""
        counts = member_counts(get_object_or_404(User, pk=user_id, account_type=self.area))
        roles = counts.by_role | {"admin": counts.by_role["admin"] + counts.by_role["parent"]}
        return Response({"success": True, "data": renamed("member counts", counts) | {f"{self.area}Roles": roles}})


def _for_card(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the value as text, which the family's cards show as it is."""
    return row | {"portfolio": "Not shared" if row["portfolio"] is None else money(row["portfolio"], 2)}
