#!/bin/bash
# Restores a backup into a directory that does not exist yet: restore.sh BACKUP DIRECTORY [TARGET OPTIONS of Barman]
# With the last WAL of a primary that is gone: what was received of a segment that never became full.
set -euo pipefail
umask 077
config=${BARMAN_DIR:-/tmp/barman}/barman.conf
home=${BARMAN_HOME:-/var/lib/barman}
backup=$1 data=$2
shift 2

barman -q -c "$config" archive-wal kamioi
barman -c "$config" restore "$@" kamioi "$backup" "$data"
chmod 0700 "$data"

wal=$data/barman_wal
[ -d "$wal" ] || wal=$data/pg_wal
for file in "$home"/kamioi/streaming/*.partial; do
	name=$(basename "$file" .partial)
	[ ! -e "$file" ] || [ -e "$wal/$name" ] || cp "$file" "$wal/$name"
done
