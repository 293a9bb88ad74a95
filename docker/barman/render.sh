#!/bin/bash
# Writes Barman's configuration into BARMAN_DIR, with the values of the environment.
#   BACKUP_HOST, BACKUP_PORT, BACKUP_USER   the primary; the password comes from a pgpass file
#   BACKUP_RETENTION     e.g. RECOVERY WINDOW OF 14 DAYS: from any second of these days a restore is possible
#   BACKUP_GPG_KEY       the id of a GnuPG key in BARMAN_HOME/.gnupg: encrypts base backups and WAL; empty for none
#   BARMAN_HOME, BARMAN_LOCKS, BARMAN_LOG, BARMAN_PROGRAMS   where things are
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

: "${BARMAN_DIR:=/tmp/barman}" "${BARMAN_HOME:=/var/lib/barman}" "${BARMAN_LOCKS:=/run/barman}" "${BARMAN_LOG:=/tmp/barman.log}"
: "${BARMAN_PROGRAMS:=/usr/lib/postgresql/18/bin}" "${BACKUP_HOST:=${POSTGRES_PRIMARY:-postgres}}" "${BACKUP_PORT:=5432}"
: "${BACKUP_USER:=barman}" "${BACKUP_RETENTION:=RECOVERY WINDOW OF 14 DAYS}" "${BACKUP_GPG_KEY:=}" "${BACKUP_COMPRESSION:=gzip}" "${BARMAN_USER:=$(id -un)}"

BACKUP_ENCRYPTION=
if [ -n "$BACKUP_GPG_KEY" ]; then
	BACKUP_ENCRYPTION="encryption = gpg
encryption_key_id = $BACKUP_GPG_KEY
encryption_passphrase_command = cat ${BACKUP_PASSPHRASE_FILE:-$BARMAN_HOME/passphrase}"
fi

umask 077
mkdir -p "$BARMAN_DIR" "$BARMAN_HOME/staging"
text=$(<"$here/barman.conf.template")
for name in BARMAN_USER BARMAN_HOME BARMAN_LOCKS BARMAN_LOG BARMAN_PROGRAMS BACKUP_HOST BACKUP_PORT BACKUP_USER BACKUP_RETENTION BACKUP_COMPRESSION \
	BACKUP_ENCRYPTION; do
	text=${text//"\${$name}"/"${!name}"}
done
printf '%s\n' "$text" >"$BARMAN_DIR/barman.conf"

[ $# -eq 0 ] || exec "$@"
