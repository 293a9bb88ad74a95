"""Changes that staff make to users. An account with bookings is closed, not deleted; only superusers change staff."""

from collections.abc import Mapping
from typing import Any

from django.contrib.admin.models import DELETION
from django.db import IntegrityError, connection, transaction

from kamioi_site.admin.audit_log import audit_log
from transactions.errors import UserChangeNotAllowedError
from transactions.models import (
    ApiToken,
    Goal,
    Holding,
    IdempotencyKey,
    LedgerTransfer,
    Notification,
    Order,
    StatementImport,
    Transaction,
    TransactionKey,
    User,
    UserSetting,
)

# Tables with rows of a user that no foreign key constraint protects; each is queried through an index.
_BOOKKEEPING_MODELS = (Transaction, TransactionKey, Holding, Order, Notification, StatementImport)


@transaction.atomic
def update_user(*, user_id: int, changes: Mapping[str, Any], actor: User) -> User:
    """Change fields of a user; closing an account revokes its tokens at once.

    Raises User.DoesNotExist, UserChangeNotAllowedError, ValidationError (from `full_clean`).
    """
    user = User.objects.select_for_update().get(pk=user_id)
    _check_permission(user, actor)
    if changes.get("is_active") is False and user.pk == actor.pk:
        raise UserChangeNotAllowedError("You cannot close your own account.")
    changed = [
        f"{name}: {getattr(user, name)!r} → {value!r}"
        for name, value in changes.items()
        if getattr(user, name) != value
    ]
    for name, value in changes.items():
        setattr(user, name, value)
    user.full_clean(exclude=["password"])
    user.save(update_fields=[*changes, "updated_at"])
    if not user.is_active:
        ApiToken.objects.filter(user=user).revoke()
    if changed:
        audit_log(actor, "; ".join(changed), target=user)
    return user


def remove_user(*, user_id: int, actor: User) -> bool:
    """Delete a user without bookings; close the account of any other. Returns whether the user was deleted.

    Raises User.DoesNotExist, UserChangeNotAllowedError.
    """
    user = User.objects.get(pk=user_id)
    _check_permission(user, actor)
    if user.pk == actor.pk:
        raise UserChangeNotAllowedError("You cannot close your own account.")
    if not _has_bookings(user):
        try:
            _delete(user, actor)
        except IntegrityError:  # another table references the user
            pass
        else:
            return True
    update_user(user_id=user_id, changes={"is_active": False}, actor=actor)
    return False


def _check_permission(user: User, actor: User) -> None:
    if (user.is_staff or user.is_superuser) and not actor.is_superuser and user.pk != actor.pk:
        raise UserChangeNotAllowedError("Only superusers can change staff accounts, in the admin.")


def _has_bookings(user: User) -> bool:
    owned = any(model._base_manager.filter(user_id=user.pk).exists() for model in _BOOKKEEPING_MODELS)
    return owned or LedgerTransfer.objects.filter(user_id=user.pk).exists()


@transaction.atomic
def _delete(user: User, actor: User) -> None:
    """Delete the row and its dependents. The ORM's collector would search every table that references users."""
    for model in (ApiToken, Goal, UserSetting, IdempotencyKey):
        model._base_manager.filter(user_id=user.pk).delete()
    user.groups.clear()
    user.user_permissions.clear()
    audit_log(actor, "deleted: nothing was booked", target=user, action=DELETION)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM users WHERE id = %s", [user.pk])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
