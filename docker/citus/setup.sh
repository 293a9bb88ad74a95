#!/bin/bash
# Tells the coordinator of its workers; harmless when it knows them.
set -euo pipefail

PGPASSWORD=$(</run/secrets/postgres_password)
export PGPASSWORD
psql -v ON_ERROR_STOP=1 -h citus-coordinator -U postgres -d kamioi <<'SQL'
SELECT citus_set_coordinator_host('citus-coordinator', 5432);
SELECT citus_add_node('citus-worker-1', 5432);
SELECT citus_add_node('citus-worker-2', 5432);
SQL
