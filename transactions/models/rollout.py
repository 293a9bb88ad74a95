"""Features that are switched on for some customers first."""

import zlib
from typing import Any

from django.utils.translation import gettext_lazy as _
from waffle.models import AbstractUserFlag


class RolloutFlag(AbstractUserFlag):
    """A feature flag of django-waffle whose percentage is of customers, not of requests.

    A customer stays on the same side however often they ask, with or without cookies, and a larger percentage only
    adds customers.
    """

    class Meta(AbstractUserFlag.Meta):
        abstract = False
        db_table = "rollout_flags"
        verbose_name = _("rollout flag")
        verbose_name_plural = _("rollout flags")

    def is_active_for_user(self, user: Any) -> bool | None:
        """Whether the flag is on for this customer."""
        decided: bool | None = super().is_active_for_user(user)
        if decided is None and self.percent is not None and user.pk is not None:
            return zlib.crc32(f"{self.name}:{user.pk}".encode()) % 1000 < self.percent * 10
        return decided
