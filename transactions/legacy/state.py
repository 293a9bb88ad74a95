"""Where the migration stands: the one row of `legacy_source`.

`phase` says who is in charge of the data: 'legacy' from the first copy on, 'kamioi' from the cut-over on, 'finished' when
the legacy file is written no more, 'rolled back' when Kamioi gave the data back. While the legacy system is in charge, Kamioi
books nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from django.db import connection

Phase = Literal["legacy", "kamioi", "finished", "rolled back"]

READS_FLAG: Final = "kamioi_reads"
"""The waffle flag that says for whom Kamioi answers from its own data."""


@dataclass(frozen=True, slots=True)
class MigrationState:
    """`position` is the last entry of the legacy file's log of changes that was carried over; None without a log."""

    path: Path
    phase: Phase
    position: int | None
    dual_write: bool
    error: str


def state_read() -> MigrationState | None:
    """None when nothing was ever carried over into this database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT path, state FROM legacy_source")
        found = cursor.fetchone()
    if found is None:
        return None
    state: dict[str, Any] = found[1] if isinstance(found[1], dict) else json.loads(found[1])
    return MigrationState(
        path=Path(found[0]),
        phase=state.get("phase", "legacy"),
        position=state.get("position"),
        dual_write=bool(state.get("dual_write")),
        error=str(state.get("error", "")),
    )


def state_write(**changed: Any) -> None:
    """Change what is named, in the transaction of the caller."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE legacy_source SET state = state || %s::jsonb", [json.dumps(changed)])


def legacy_in_charge() -> bool:
    """Whether the legacy system still owns the data: then Kamioi processes nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT state->>'phase' IN ('legacy', 'rolled back') FROM legacy_source")
        found = cursor.fetchone()
    return bool(found and found[0])
