#!/bin/bash
# One of the two PostgreSQL servers of docker/compose.yml: SERVER_NAME is its name, POSTGRES_PRIMARY the name of the primary.
#   the primary   serves; on an empty data directory the image makes the database first
#   the other     copies the primary when its data directory is empty, then follows it
# A server whose data is that of a primary, and that is not the primary now, does not serve: two primaries would each take
# purchases. docker/failover rebuild makes a replica of it.
set -euo pipefail
umask 077
first=postgres # the one that may make an empty database

not_served() { # WHY: stays, unhealthy, instead of being started again and again
	echo "$SERVER_NAME does not serve: $1" >&2
	exec sleep infinity
}

has_data=; [ ! -s "$PGDATA/PG_VERSION" ] || has_data=1
follows=; [ ! -e "$PGDATA/standby.signal" ] || follows=1

if [ "$SERVER_NAME" = "$POSTGRES_PRIMARY" ]; then
	[ -n "$has_data" ] || [ "$SERVER_NAME" = "$first" ] || not_served "it is the primary, and its data is gone: see docs/recovery.md"
	[ -z "$follows" ] || not_served "POSTGRES_PRIMARY names it, but it still follows another one: use docker/failover"
	exec docker-entrypoint.sh postgres -c config_file=/etc/kamioi/postgresql.conf -c "shared_buffers=${POSTGRES_SHARED_BUFFERS:-4GB}"
fi

[ -z "$has_data" ] || [ -n "$follows" ] || not_served "it was the primary, and $POSTGRES_PRIMARY is now: docker/failover rebuild"

# libpq takes a password file that only its owner reads.
passfile=/tmp/pgpass
printf '*:*:*:replicator:%s\n' "$(</run/secrets/replication_password)" >"$passfile"
export PGPASSFILE=$passfile

if [ -z "$has_data" ]; then
	rm -rf "$PGDATA" "$PGDATA.new"
	mkdir -p "$(dirname "$PGDATA")"
	# The slot is there: init.sh made it, or docker/failover. The copy becomes the data only when it is whole.
	until pg_basebackup -D "$PGDATA.new" -X stream -c fast -R -S "$SERVER_NAME" \
		-d "host=$POSTGRES_PRIMARY user=replicator passfile=$passfile application_name=$SERVER_NAME"; do
		rm -rf "$PGDATA.new"
		sleep 5
	done
	mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c config_file=/etc/kamioi/postgresql.conf -c "shared_buffers=${POSTGRES_SHARED_BUFFERS:-4GB}"
