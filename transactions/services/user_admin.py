"""What staff change about people. Whoever has books is closed, never deleted; who is staff is changed by administrators."""

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

# Tables that keep rows of a person without the database saying so; each is looked at through an index.
_BOOKS = (Transaction, TransactionKey, Holding, Order, Notification, StatementImport)


@transaction.atomic
def update_user(*, user_id: int, changes: Mapping[str, Any], actor: User) -> User:
    """Change fields of a person; closing an account ends its tokens at once.

    Raises User.DoesNotExist, UserChangeNotAllowedError, ValidationError (from `full_clean`).
    """
    person = User.objects.select_for_update().get(pk=user_id)
    _may_change(person, actor)
    if changes.get("is_active") is False and person.pk == actor.pk:
        raise UserChangeNotAllowedError("Nobody closes their own account here.")
    said = [
        f"{name}: {getattr(person, name)!r} → {value!r}"
        for name, value in changes.items()
        if getattr(person, name) != value
    ]
    for name, value in changes.items():
        setattr(person, name, value)
    person.full_clean(exclude=["password"])
    person.save(update_fields=[*changes, "updated_at"])
    if not person.is_active:
        ApiToken.objects.filter(user=person).revoke()
    if said:
        audit_log(actor, "; ".join(said), target=person)
    return person


def remove_user(*, user_id: int, actor: User) -> bool:
    """Delete a person who left no trace in the books; close the account of everybody else. True when deleted.

    Raises User.DoesNotExist, UserChangeNotAllowedError.
    """
    person = User.objects.get(pk=user_id)
    _may_change(person, actor)
    if person.pk == actor.pk:
        raise UserChangeNotAllowedError("Nobody closes their own account here.")
    if not _has_books(person):
        try:
            _delete(person, actor)
        except IntegrityError:  # some other table names the person
            pass
        else:
            return True
    update_user(user_id=user_id, changes={"is_active": False}, actor=actor)
    return False


def _may_change(person: User, actor: User) -> None:
    if (person.is_staff or person.is_superuser) and not actor.is_superuser and person.pk != actor.pk:
        raise UserChangeNotAllowedError("Accounts of staff are changed by administrators in the admin.")


def _has_books(person: User) -> bool:
    owned = any(model._base_manager.filter(user_id=person.pk).exists() for model in _BOOKS)
    return owned or LedgerTransfer.objects.filter(user_id=person.pk).exists()


@transaction.atomic
def _delete(person: User, actor: User) -> None:
    """The row and what hangs on it alone. Not through the ORM's collector: it would search every table that names people."""
    for model in (ApiToken, Goal, UserSetting, IdempotencyKey):
        model._base_manager.filter(user_id=person.pk).delete()
    person.groups.clear()
    person.user_permissions.clear()
    audit_log(actor, "deleted: nothing was booked", target=person, action=DELETION)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM users WHERE id = %s", [person.pk])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
