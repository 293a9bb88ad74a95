#!/bin/bash
# The image's own start, with the password by which the servers of the cluster know each other.
set -euo pipefail

# libpq takes a password file that only its owner reads.
install -m 0600 -o postgres -g postgres /dev/null /tmp/pgpass
printf '*:*:*:postgres:%s\n' "$(</run/secrets/postgres_password)" >>/tmp/pgpass
export PGPASSFILE=/tmp/pgpass
exec docker-entrypoint.sh postgres
