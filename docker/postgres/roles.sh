#!/bin/bash
# The two roles of Kamioi: kamioi_owner has the database and runs migrations, kamioi_app runs everything else and owns
# nothing. Can be run again, e.g. after a change of a password, or in a database whose role `kamioi` still does both.
# SECRETS names the directory of the passwords.
set -euo pipefail
secrets=${SECRETS:-/run/secrets}

psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
	-v owner="$(<"$secrets/owner_password")" \
	-v application="$(<"$secrets/database_password")" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', name) FROM unnest(ARRAY['kamioi_owner', 'kamioi_app']) AS name
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
ALTER ROLE kamioi_owner PASSWORD :'owner';
ALTER ROLE kamioi_app PASSWORD :'application';
-- The application looks at slow statements of everybody.
GRANT pg_read_all_stats TO kamioi_app;
SELECT 'REASSIGN OWNED BY kamioi TO kamioi_owner' WHERE to_regrole('kamioi') IS NOT NULL \gexec
ALTER DATABASE :"DBNAME" OWNER TO kamioi_owner;
ALTER SCHEMA public OWNER TO kamioi_owner;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO kamioi_app;
SQL
