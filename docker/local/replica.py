"""A streaming replica beside the embedded PostgreSQL."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from kamioi_site.local.servers import EmbeddedPostgres


class EmbeddedReplica(EmbeddedPostgres):
    """A read-only streaming replica of an embedded primary, with its data in `<home>/replica/data`.

    It holds a replication slot on the primary, whose `max_slot_wal_keep_size` limits the WAL kept for it.
    """

    name = "replica"

    def __init__(self, here: Path, primary: EmbeddedPostgres, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(here, settings)
        self._primary = primary

    def create_database(self) -> None:
        """Do nothing: a replica has the primary's databases."""

    def _initialise(self, directory: Path) -> None:
        self._create_replication_slot()
        source = f"host={self._primary.socket_directory} user=postgres application_name={self.name}"
        program, slot = str(self.binaries / "pg_basebackup"), self.name
        self._run(program, "-D", str(directory), "-X", "stream", "-c", "fast", "-R", "-S", slot, "-d", source)

    def _create_replication_slot(self) -> None:
        with closing(self._primary.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [self.name])
            if cursor.fetchone() is None:
                cursor.execute("SELECT pg_create_physical_replication_slot(%s, true)", [self.name])
