#!/bin/bash
# The container of the profile `backup`: receives the WAL at every moment, makes a base backup of database and uploads each
# night (BACKUP_AT, UTC) and deletes what is older than the retention.
set -euo pipefail
umask 077
here=/etc/kamioi
export PGPASSFILE=/tmp/pgpass BARMAN_DIR=/tmp/barman
printf '*:*:*:barman:%s\n' "$(</run/secrets/backup_password)" >"$PGPASSFILE"
"$here/render.sh"

tonight() { # the next BACKUP_AT, in seconds since 1970
	local at
	at=$(date -u -d "${BACKUP_AT:-02:30}" +%s)
	[ "$at" -gt "$(date +%s)" ] || at=$((at + 86400))
	echo "$at"
}

# What a killed container left is not running any more.
next=$(tonight)
if ! ls "${BARMAN_HOME:-/var/lib/barman}"/kamioi/meta/*-backup.info >/dev/null 2>&1; then next=0; fi # the first one at once
while :; do
	# Starts pg_receivewal unless it runs, takes in what it received, and applies the retention.
	barman -q -c "$BARMAN_DIR/barman.conf" cron || echo "barman cron failed" >&2
	if [ "$(date +%s)" -ge "$next" ] && "$here/health.sh"; then # a backup without its WAL is none
		if "$here/backup.sh"; then next=$(tonight); else next=$(($(date +%s) + 900)); fi
	fi
	sleep 30 &
	wait $!
done
