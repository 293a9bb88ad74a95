#!/bin/bash
# Run once by the image, on an empty data directory: the roles of the application, the replica and the exporter.
set -euo pipefail

/etc/kamioi/roles.sh
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
	-v replication="$(</run/secrets/replication_password)" \
	-v monitor="$(</run/secrets/monitor_password)" \
	-v backup="$(</run/secrets/backup_password)" <<'SQL'
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replication';
CREATE ROLE monitor LOGIN PASSWORD :'monitor' CONNECTION LIMIT 5;
GRANT pg_monitor TO monitor;
GRANT CONNECT ON DATABASE kamioi TO monitor;
-- Barman: what the manual asks for of a role that is no superuser.
CREATE ROLE barman LOGIN REPLICATION PASSWORD :'backup' CONNECTION LIMIT 8;
GRANT pg_read_all_settings, pg_read_all_stats, pg_checkpoint TO barman;
GRANT CONNECT ON DATABASE kamioi TO barman;
GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean), pg_switch_wal(), pg_create_restore_point(text) TO barman;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
SELECT pg_create_physical_replication_slot('replica', true);
SQL
