"""Users for staff."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypedDict

from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.pagination import CURSOR, LIMIT, page_limit
from kamioi_site.api.payloads import MessageOutput, SuccessOutput
from kamioi_site.pagination import decode_cursor, encode_cursor
from transactions.api.base import current_user, validated
from transactions.api.staff.base import StaffView
from transactions.api.staff.serializers import UserInput, UserStatusInput
from transactions.models import User
from transactions.selectors import staff as selectors
from transactions.services.user_admin import remove_user, update_user


class UserRow(TypedDict):
    """A user, without anything of their password."""

    id: int
    email: str
    name: str
    role: str
    dashboard: str
    account_type: Annotated[str, User.AccountType]
    account_number: str | None
    city: str
    state: str
    zip_code: str
    phone: str
    round_up_amount: int
    round_up_enabled: bool
    round_up_rule: Annotated[str, User.RoundUpRule]
    is_active: bool
    is_staff: bool
    status: str
    created_at: datetime
    updated_at: datetime
    last_login: datetime | None


class UserPageOutput(SuccessOutput):
    """A page of users, newest first. `users` and `data` are the same."""

    users: list[UserRow]
    data: list[UserRow]
    next_cursor: str | None
    has_more: bool


class UserOutput(SuccessOutput):
    """One user. `user` and `data` are the same."""

    user: UserRow
    data: UserRow


class UserRemovedOutput(MessageOutput):
    """`deleted` if the user had no bookings, otherwise the account is closed."""

    deleted: bool


class UserListView(StaffView):
    required_permissions = ("transactions.view_user",)

    @extend_schema(
        operation_id="admin_users_list",
        parameters=[
            CURSOR,
            LIMIT,
            OpenApiParameter("search", OpenApiTypes.STR, description="A full e-mail, an account number, or an id."),
            OpenApiParameter("account_type", OpenApiTypes.STR, enum=User.AccountType.values),
        ],
        responses={200: UserPageOutput},
        tags=["users"],
    )
    def get(self, request: Request) -> Response:
        """Return a page of users, newest first."""
        account_type = request.query_params.get("account_type") or ""
        if account_type and account_type not in User.AccountType.values:
            raise ValidationError({"account_type": [f"Must be one of {', '.join(User.AccountType.values)}."]})
        search = (request.query_params.get("search") or "").strip()
        limit, cursor, scope = page_limit(request), request.query_params.get("cursor"), f"users:{account_type}:{search}"
        users = selectors.search_users(search=search, account_type=account_type).order_by("-pk")
        if cursor:
            users = users.filter(pk__lt=decode_cursor(cursor, scope)[0])
        found = list(users[: limit + 1])
        page, has_more = found[:limit], len(found) > limit
        rows = self.rows(request, page)
        next_cursor = encode_cursor([page[-1].pk], scope) if has_more else None
        return Response(
            {"success": True, "users": rows, "data": rows, "next_cursor": next_cursor, "has_more": has_more}
        )

    def rows(self, request: Request, users: Sequence[User]) -> Sequence[Mapping[str, Any]]:
        return [user_row(user) for user in users]


class UserView(StaffView):
    required_permissions = ("transactions.view_user",)
    write_permissions = ("transactions.change_user",)

    def get_required_permissions(self, method: str | None) -> tuple[str, ...]:
        """Require another permission to close an account than to change it."""
        return ("transactions.delete_user",) if method == "DELETE" else super().get_required_permissions(method)

    @extend_schema(responses={200: UserOutput}, tags=["users"])
    def get(self, request: Request, user_id: int) -> Response:
        """Return the user."""
        user = User.objects.filter(pk=user_id).first()
        if user is None:
            raise Http404
        return _response(user)

    @extend_schema(request=UserInput, responses={200: UserOutput}, tags=["users"])
    def put(self, request: Request, user_id: int) -> Response:
        """Change the given fields. Only superusers change accounts of staff. Closing an account revokes its tokens."""
        return _response(_update(request, user_id, validated(UserInput(data=request.data))))

    @extend_schema(responses={200: UserRemovedOutput}, tags=["users"])
    def delete(self, request: Request, user_id: int) -> Response:
        """Delete the user; a user with bookings is deactivated instead and the bookings stay."""
        try:
            deleted = remove_user(user_id=user_id, actor=current_user(request))
        except User.DoesNotExist as error:
            raise Http404 from error
        message = "User deleted." if deleted else "Account closed; its bookings remain."
        return Response({"success": True, "message": message, "deleted": deleted})


class UserStatusView(StaffView):
    required_permissions = ("transactions.change_user",)

    @extend_schema(request=UserStatusInput, responses={200: UserOutput}, tags=["users"])
    def put(self, request: Request, user_id: int) -> Response:
        """Set the status: `active`, or `inactive` (alias `suspended`)."""
        return _response(_update(request, user_id, validated(UserStatusInput(data=request.data))))


def _update(request: Request, user_id: int, changes: dict[str, Any]) -> User:
    try:
        cancel = changes.pop("held_purchases", "release") == "cancel"
        return update_user(user_id=user_id, changes=changes, actor=current_user(request), cancel_held_purchases=cancel)
    except User.DoesNotExist as error:
        raise Http404 from error
    except DjangoValidationError as error:
        raise ValidationError(error.message_dict) from error


def user_row(user: User) -> UserRow:
    return UserRow(
        id=user.pk,
        email=user.email,
        name=user.name,
        role=user.account_type,
        dashboard=user.account_type,
        account_type=user.account_type,
        account_number=user.account_number,
        city=user.city,
        state=user.state,
        zip_code=user.zip_code,
        phone=user.phone,
        round_up_amount=user.round_up_amount,
        round_up_enabled=user.round_up_enabled,
        round_up_rule=user.round_up_rule,
        is_active=user.is_active,
        is_staff=user.is_staff,
        status="active" if user.is_active else "inactive",
        created_at=user.created_at,
        updated_at=user.updated_at,
        last_login=user.last_login,
    )


def _response(user: User) -> Response:
    row = user_row(user)
    return Response({"success": True, "user": row, "data": row})
