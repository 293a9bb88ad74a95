#!/bin/sh
# Writes PgBouncer's configuration and its list of users into PGBOUNCER_DIR, with the values of the environment.
# Passwords come from PGBOUNCER_PASSWORD_FILE (the application's) and PGBOUNCER_STATS_PASSWORD_FILE (the exporter's).
# PGBOUNCER_SERVER_TLS     whether PostgreSQL is spoken to over TLS: disable, prefer (default: when it offers TLS), require,
#                          verify-ca or verify-full; the last two check it against PGBOUNCER_SERVER_TLS_CA, a file
# PGBOUNCER_QUERY_WAIT     seconds that a client waits for a server before it is refused
# With an argument, that is run afterwards instead of this script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

: "${PGBOUNCER_DIR:=/tmp/pgbouncer}" "${PGBOUNCER_DATABASE:=kamioi}" "${PGBOUNCER_USER:=kamioi_app}" "${PGBOUNCER_SERVER_USER:=}"
: "${PGBOUNCER_PRIMARY_HOST:=postgres}" "${PGBOUNCER_PRIMARY_PORT:=5432}"
: "${PGBOUNCER_REPLICA_HOST:=$PGBOUNCER_PRIMARY_HOST}" "${PGBOUNCER_REPLICA_PORT:=$PGBOUNCER_PRIMARY_PORT}"
: "${PGBOUNCER_LISTEN_ADDRESS:=0.0.0.0}" "${PGBOUNCER_LISTEN_PORT:=6432}" "${PGBOUNCER_STATS_USER:=monitor}"
: "${PGBOUNCER_MAX_CLIENTS:=5000}" "${PGBOUNCER_POOL_SIZE:=20}" "${PGBOUNCER_RESERVE:=10}"
: "${PGBOUNCER_SERVER_TLS:=prefer}" "${PGBOUNCER_SERVER_TLS_CA:=}" "${PGBOUNCER_QUERY_WAIT:=30}"

case $PGBOUNCER_SERVER_TLS in
disable | prefer | require) ;;
verify-ca | verify-full) [ -r "$PGBOUNCER_SERVER_TLS_CA" ] || { echo "PGBOUNCER_SERVER_TLS=$PGBOUNCER_SERVER_TLS needs PGBOUNCER_SERVER_TLS_CA, a file" >&2; exit 1; } ;;
*) echo "PGBOUNCER_SERVER_TLS must be disable, prefer, require, verify-ca or verify-full, not $PGBOUNCER_SERVER_TLS" >&2; exit 1 ;;
esac

umask 077
mkdir -p "$PGBOUNCER_DIR"
PGBOUNCER_SERVER_TLS_CA=${PGBOUNCER_SERVER_TLS_CA:+server_tls_ca_file = $PGBOUNCER_SERVER_TLS_CA}
[ -z "$PGBOUNCER_SERVER_USER" ] || PGBOUNCER_SERVER_USER=" user=$PGBOUNCER_SERVER_USER"

script=
for name in PGBOUNCER_DIR PGBOUNCER_DATABASE PGBOUNCER_SERVER_USER PGBOUNCER_PRIMARY_HOST PGBOUNCER_PRIMARY_PORT \
	PGBOUNCER_REPLICA_HOST PGBOUNCER_REPLICA_PORT PGBOUNCER_LISTEN_ADDRESS PGBOUNCER_LISTEN_PORT PGBOUNCER_STATS_USER \
	PGBOUNCER_MAX_CLIENTS PGBOUNCER_POOL_SIZE PGBOUNCER_RESERVE PGBOUNCER_SERVER_TLS PGBOUNCER_SERVER_TLS_CA PGBOUNCER_QUERY_WAIT; do
	eval "value=\$$name"
	case $value in *[\|\&\\]*) echo "$name holds a character that has no place in it" >&2; exit 1 ;; esac
	script="$script;s|\${$name}|$value|g"
done
sed "${script#;}" "$here/pgbouncer.ini.template" >"$PGBOUNCER_DIR/pgbouncer.ini"

user() { # NAME FILE: one line of the list, quotes doubled
	printf '"%s" "%s"\n' "$1" "$(sed 's/"/""/g' "$2")"
}
{
	user "$PGBOUNCER_USER" "$PGBOUNCER_PASSWORD_FILE"
	[ -z "${PGBOUNCER_STATS_PASSWORD_FILE:-}" ] || user "$PGBOUNCER_STATS_USER" "$PGBOUNCER_STATS_PASSWORD_FILE"
} >"$PGBOUNCER_DIR/users.txt"

[ $# -eq 0 ] || exec "$@"
