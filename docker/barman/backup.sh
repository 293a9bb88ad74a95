#!/bin/bash
# A base backup of the database, the uploads beside it, and a note for Prometheus that it worked.
set -euo pipefail
umask 077
config=${BARMAN_DIR:-/tmp/barman}/barman.conf
home=${BARMAN_HOME:-/var/lib/barman}
export PGPASSFILE=${PGPASSFILE:-/tmp/pgpass}
barman() { command barman -q -c "$config" "$@"; }

# What was interrupted cannot be restored, and `barman check` would complain of it until it is too old.
for backup in $(command barman -c "$config" list-backups kamioi | sed -n 's/^kamioi \([^ ]*\) - .*FAILED$/\1/p'); do
	barman delete kamioi "$backup"
done

# The WAL that the backup needs is received before the backup counts.
barman switch-wal --archive --archive-timeout 120 kamioi >/dev/null 2>&1 || :
barman backup --wait kamioi

# Uploads are never changed once written. Kept as long as two weeks of base backups.
if [ -d "${MEDIA:-/media}" ]; then
	mkdir -p "$home/media"
	new=$home/media/$(date -u +%Y%m%dT%H%M%SZ).tar.gz
	tar -C "${MEDIA:-/media}" --warning=no-file-changed -czf "$new.part" . || [ $? -eq 1 ] # 1: a file changed meanwhile
	if [ -n "${BACKUP_GPG_KEY:-}" ]; then
		gpg --batch --yes --trust-model always --encrypt --recipient "$BACKUP_GPG_KEY" --output "$new.gpg.part" "$new.part"
		rm -f "$new.part"
		mv "$new.gpg.part" "$new.gpg"
	else
		mv "$new.part" "$new"
	fi
	find "$home/media" -name '*.tar.gz*' -mtime +14 -delete
fi

if [ -d "${METRICS:-/metrics}" ]; then
	umask 022
	chmod 0755 "${METRICS:-/metrics}" # node-exporter is another user
	{
		echo '# HELP kamioi_backup_last_success_timestamp_seconds When the last backup of database and uploads was complete.'
		echo '# TYPE kamioi_backup_last_success_timestamp_seconds gauge'
		echo "kamioi_backup_last_success_timestamp_seconds $(date +%s)"
	} >"${METRICS:-/metrics}/backup.prom.part"
	mv "${METRICS:-/metrics}/backup.prom.part" "${METRICS:-/metrics}/backup.prom"
fi
echo "backup complete"
