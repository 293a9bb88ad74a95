"""The phase of the migration from the legacy SQLite file: all that processing, selectors and views know of it.

`phase` is the system that owns the data: 'legacy' from the first copy on, 'kamioi' after the cut-over, 'finished' when
the legacy file is no longer written, 'rolled back' when Kamioi returned the data. While the legacy system owns the
data, Kamioi books nothing, and the waffle flag `kamioi_reads` selects the customers whose reads are served from Kamioi.

`transactions.legacy` does the migration and installs its reader here, so that nothing else imports that package.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from django.db import connection
from django.db.models.signals import m2m_changed, post_delete, post_save
from waffle import get_waffle_flag_model

from kamioi_site.cache.namespaces import invalidate_cache
from transactions.cache import READS_GENERATION
from transactions.models import Notification, Transaction, User

Phase = Literal["legacy", "kamioi", "finished", "rolled back"]

# The waffle flag that selects the customers whose reads are served from Kamioi.
READS_FLAG: Final = "kamioi_reads"


@dataclass(frozen=True, slots=True)
class MigrationState:
    """The one row of `legacy_source`.

    `position` is the last entry of the legacy file's change log that was applied; None without a log.
    """

    path: Path
    phase: Phase
    position: int | None
    dual_write: bool
    error: str

    @property
    def legacy_owns_data(self) -> bool:
        """Whether the legacy system is the system of record."""
        return self.phase in ("legacy", "rolled back")


def get_migration_state() -> MigrationState | None:
    """Return None when nothing was ever copied into this database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT path, state FROM legacy_source")
        row = cursor.fetchone()
    if row is None:
        return None
    state: dict[str, Any] = row[1] if isinstance(row[1], dict) else json.loads(row[1])
    return MigrationState(
        path=Path(row[0]),
        phase=state.get("phase", "legacy"),
        position=state.get("position"),
        dual_write=bool(state.get("dual_write")),
        error=str(state.get("error", "")),
    )


def update_migration_state(**changes: Any) -> None:
    """Change the given keys, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE legacy_source SET state = state || %s::jsonb", [json.dumps(changes)])


def legacy_owns_data() -> bool:
    """Return whether the legacy system is the system of record: then Kamioi processes nothing."""
    state = get_migration_state()
    return state is not None and state.legacy_owns_data


# --- Where reads come from ------------------------------------------------------------------------------------------


class LegacyReads(Protocol):
    """A customer's rows in the legacy file; None when the file cannot be read now and Kamioi's copy should be used."""

    def transactions(self, limit: int) -> list[Transaction] | None:
        """Return the newest purchases, unsaved."""

    def notifications(self, limit: int) -> list[Notification] | None:
        """Return the newest notifications, unsaved."""

    def holdings(self) -> list[tuple[str, Decimal, Decimal]] | None:
        """Return (ticker, shares, cost) by company."""


@dataclass(frozen=True, slots=True)
class ReadSource:
    """Where one request reads a customer's data: Kamioi, or the legacy file while `legacy` is set.

    `is_kamioi` is False for customers of the legacy system even when its file is gone, so that nothing is cached.
    """

    is_kamioi: bool = True
    legacy: LegacyReads | None = None


KAMIOI: Final = ReadSource()

_open_legacy_reads: Callable[[User, MigrationState], LegacyReads | None] | None = None
_no_flag_in_generation: str | None = None


def install_legacy_reads(open_reads: Callable[[User, MigrationState], LegacyReads | None]) -> None:
    """Set how the legacy file is read, and invalidate cached reads whenever the flag changes."""
    global _open_legacy_reads  # noqa: PLW0603
    _open_legacy_reads = open_reads
    flag: Any = get_waffle_flag_model()
    for sender in (flag, flag.users.through, flag.groups.through):
        for signal in (post_save, post_delete, m2m_changed):
            signal.connect(_flag_changed, sender=sender, dispatch_uid=f"legacy reads {signal!r}")


def _flag_changed(**_: Any) -> None:
    invalidate_cache(READS_GENERATION)


def get_read_source(user: User, *, generation: str = "") -> ReadSource:
    """Choose where this request reads the customer's data.

    Args:
        user: the customer.
        generation: the current `READS_GENERATION`, where the caller knows it: a missing flag is then looked up once a
            generation instead of once a request.
    """
    if reads_from_kamioi(user, generation=generation):
        return KAMIOI
    state = get_migration_state()
    if state is None or not state.legacy_owns_data or _open_legacy_reads is None:
        return ReadSource(is_kamioi=False)
    return ReadSource(is_kamioi=False, legacy=_open_legacy_reads(user, state))


def reads_from_kamioi(user: User, *, generation: str = "") -> bool:
    """Return whether this customer's reads are served from Kamioi's own data.

    The flag's percentage is of customers, not of requests as in django-waffle (the front ends send no cookies): a
    customer stays on one side, and a larger percentage only adds customers.
    """
    global _no_flag_in_generation  # noqa: PLW0603
    if generation:
        if generation == _no_flag_in_generation:
            return True
        if not get_waffle_flag_model().objects.filter(name=READS_FLAG).exists():
            _no_flag_in_generation = generation
            return True
    flag = get_waffle_flag_model().get(READS_FLAG)
    if flag.pk is None:
        return True
    active = flag.is_active_for_user(user)
    if active is None:
        return zlib.crc32(f"{READS_FLAG}:{user.pk}".encode()) % 1000 < (flag.percent or 0) * 10
    return bool(active)
