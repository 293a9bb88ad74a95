#!/bin/bash
# Run once by the image, on an empty data directory: the roles of the application, the replica and the exporter.
set -euo pipefail

psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
	-v database="$(</run/secrets/database_password)" \
	-v replication="$(</run/secrets/replication_password)" \
	-v monitor="$(</run/secrets/monitor_password)" <<'SQL'
CREATE ROLE kamioi LOGIN PASSWORD :'database';
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replication';
CREATE ROLE monitor LOGIN PASSWORD :'monitor' CONNECTION LIMIT 5;
GRANT pg_monitor TO monitor;
ALTER DATABASE kamioi OWNER TO kamioi;
ALTER SCHEMA public OWNER TO kamioi;
REVOKE ALL ON DATABASE kamioi FROM PUBLIC;
GRANT CONNECT ON DATABASE kamioi TO monitor;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
-- The application looks at slow statements of everybody.
GRANT pg_read_all_stats TO kamioi;
SELECT pg_create_physical_replication_slot('replica', true);
SQL
