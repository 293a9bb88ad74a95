#!/bin/bash
# A streaming replica: copies the primary when its data directory is empty, then follows it.
set -euo pipefail
umask 077

# libpq takes a password file that only its owner reads.
passfile=/tmp/pgpass
printf '*:*:*:replicator:%s\n' "$(</run/secrets/replication_password)" >"$passfile"
export PGPASSFILE=$passfile

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	rm -rf "$PGDATA" "$PGDATA.new"
	mkdir -p "$(dirname "$PGDATA")"
	# The slot was made with the primary (init.sh). The copy becomes the data only when it is whole.
	until pg_basebackup -D "$PGDATA.new" -X stream -c fast -R -S replica \
		-d "host=$PRIMARY_HOST user=replicator passfile=$passfile application_name=replica"; do
		rm -rf "$PGDATA.new"
		sleep 5
	done
	mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/kamioi/postgresql.conf
