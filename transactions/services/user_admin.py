"""Changes that staff make to users, in the admin and over the API.

Only superusers change staff accounts and rights, and nobody their own rights. An account with bookings is closed, not
deleted.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from django.contrib.admin.models import DELETION
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.observability.metrics import RIGHTS_CHANGES
from transactions.errors import EmailTakenError, UserChangeNotAllowedError
from transactions.models import (
    AccountMember,
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
from transactions.services.access import end_all_access
from transactions.services.email_addresses import request_email_change
from transactions.services.processing import request_hold_settlement

logger = logging.getLogger(__name__)

RIGHTS: Final = frozenset({"is_staff", "is_superuser", "groups", "user_permissions"})
_RELATIONS: Final = frozenset({"groups", "user_permissions"})
_ENDS_ACCESS: Final = RIGHTS | {"is_active"}
# Tables with rows of a user that no foreign key constraint protects; each is queried through an index.
_BOOKKEEPING_MODELS = (Transaction, TransactionKey, Holding, Order, Notification, StatementImport)


@transaction.atomic
def update_user(*, user_id: int, changes: Mapping[str, Any], actor: User, cancel_held_purchases: bool = False) -> User:
    """Change fields of a user, rights included. New rights or a closed account end all access.

    Opening it again releases the purchases that were on hold, or cancels them. A new e-mail address must be verified
    and takes effect later.

    Raises User.DoesNotExist, UserChangeNotAllowedError, ValidationError (from `full_clean`).
    """
    user = User.objects.select_for_update().get(pk=user_id)
    before = {name: _value(user, name) for name in changes}
    changed = {name for name, value in changes.items() if _comparable(value) != before[name]}
    _check(user, actor, fields=changed)
    if "is_active" in changed and user.pk == actor.pk:
        raise UserChangeNotAllowedError("You cannot close your own account.")
    reopened = "is_active" in changed and not user.is_active
    columns = {name: value for name, value in changes.items() if name not in _RELATIONS | {"email"}}
    for name, value in columns.items():
        setattr(user, name, value)
    user.full_clean(exclude=["password"])
    user.save(update_fields=[*columns, "updated_at"])
    for name in changed & _RELATIONS:
        getattr(user, name).set(changes[name])
    if "email" in changed:
        try:
            request_email_change(user=user, email=changes["email"])
        except EmailTakenError as error:
            raise ValidationError({"email": [str(error)]}) from error
    if changed & _ENDS_ACCESS:
        end_all_access(user)
    if reopened:
        request_hold_settlement(user=user, cancel=cancel_held_purchases)
    if changed:
        after = {name: _comparable(value) for name, value in changes.items() if name in changed}
        text = "; ".join(f"{name}: {before[name]!r} → {value!r}" for name, value in after.items())
        (record_rights_change if changed & RIGHTS else audit_log)(actor, text, target=user)
    return user


def record_rights_change(actor: User, message: str, *, target: User | Group) -> None:
    """Audit, log and count a change of the rights of a user or a role; an alert follows the count."""
    audit_log(actor, message, target=target)
    logger.warning("rights changed by user %s: %s %s", actor.pk, target._meta.verbose_name, target.pk)
    transaction.on_commit(RIGHTS_CHANGES.inc)


def may_change(user: User, actor: User) -> bool:
    """Whether the actor may change this user at all; `update_user` checks the fields."""
    return actor.is_superuser or not (user.is_staff or user.is_superuser)


def _check(user: User, actor: User, *, fields: Collection[str] = ()) -> None:
    if not may_change(user, actor):
        raise UserChangeNotAllowedError("Only superusers can change staff accounts.")
    if RIGHTS.isdisjoint(fields):
        return
    if not actor.is_superuser:
        raise UserChangeNotAllowedError("Only superusers can change rights.")
    if user.pk == actor.pk:
        raise UserChangeNotAllowedError("You cannot change your own rights.")


def _value(user: User, name: str) -> Any:
    return _comparable(getattr(user, name).all() if name in _RELATIONS else getattr(user, name))


def _comparable(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else value


def remove_user(*, user_id: int, actor: User) -> bool:
    """Delete a user without bookings; close the account of any other. Returns whether the user was deleted.

    Raises User.DoesNotExist, UserChangeNotAllowedError.
    """
    user = User.objects.get(pk=user_id)
    _check(user, actor)
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


def _has_bookings(user: User) -> bool:
    owned = any(model._base_manager.filter(user_id=user.pk).exists() for model in _BOOKKEEPING_MODELS)
    return owned or LedgerTransfer.objects.filter(user_id=user.pk).exists()


@transaction.atomic
def _delete(user: User, actor: User) -> None:
    """Delete the row and its dependents. The ORM's collector would search every table that references users."""
    for model in (ApiToken, Goal, UserSetting, IdempotencyKey):
        model._base_manager.filter(user_id=user.pk).delete()
    AccountMember.objects.filter(Q(owner=user) | Q(user=user)).delete()
    user.groups.clear()
    user.user_permissions.clear()
    audit_log(actor, "deleted: nothing was booked", target=user, action=DELETION)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM users WHERE id = %s", [user.pk])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
