"""The end of access: the one function that ends a user's sessions and tokens.

Call it, in the transaction of the change, wherever an e-mail or rights change and where an account is closed. Saving a
new password or second factor calls it by itself. It needs no list of sessions: each contains a hash of
`User.session_generation`.
"""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.dispatch import receiver

from kamioi_site.auth.two_factor import second_factor_changed
from transactions.models import ApiToken, User


@transaction.atomic
def end_all_access(user: User, *, keep: ApiToken | None = None) -> None:
    """End all sessions of the user and revoke all tokens but `keep`.

    A view that keeps the session of its own request calls `update_session_auth_hash` afterwards.
    """
    User.objects.filter(pk=user.pk).update(session_generation=F("session_generation") + 1)
    user.refresh_from_db(fields=["session_generation"])
    tokens = ApiToken.objects.filter(user_id=user.pk)
    if keep is not None:
        tokens = tokens.exclude(pk=keep.pk)
    tokens.revoke()


@receiver(post_save, sender=User)
def _end_access_by_the_old_password(sender: Any, instance: Any, *, created: bool, **_: Any) -> None:
    # Django's forms and commands save passwords too. When a log-in only renews the hash, `_password` is None.
    if instance._password is not None and not created:
        end_all_access(instance)


@receiver(second_factor_changed)
def _end_access_without_the_new_factor(sender: Any, user: User, **_: Any) -> None:
    end_all_access(user)
