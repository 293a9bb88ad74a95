#!/bin/sh
# Writes nginx's configuration from the templates beside this file into NGINX_DIR, with the values of the environment.
#   NGINX_SITE             tls (default) or plain
#   NGINX_UPSTREAM         the web processes, `host:port` or a DNS name with all of them, blanks between
#   NGINX_RESOLVER         a DNS server: names of NGINX_UPSTREAM are then asked again and again (nginx 1.27.3 and newer)
#   NGINX_TRUSTED_PROXIES  networks of load balancers in front of nginx whose X-Forwarded-For and -Proto are believed
# With an argument, that is run afterwards instead of this script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

: "${NGINX_DIR:=/tmp/nginx}" "${NGINX_SITE:=tls}" "${NGINX_TRUSTED_PROXIES:=}" "${NGINX_RESOLVER:=}"
: "${NGINX_UPSTREAM:=web:8000}" "${NGINX_LISTEN:=8080}" "${NGINX_LISTEN_TLS:=8443}" "${NGINX_STATUS_LISTEN:=8081}"
: "${NGINX_WORKERS:=auto}" "${NGINX_TEMP:=/var/cache/nginx}" "${NGINX_STATIC:=/srv/static}" "${NGINX_UPLOAD_LIMIT:=513m}"
: "${NGINX_ACCESS_LOG:=/dev/stdout}" "${NGINX_MIME_TYPES:=/etc/nginx/mime.types}"
: "${NGINX_CERTIFICATE:=/run/secrets/tls_certificate}" "${NGINX_CERTIFICATE_KEY:=/run/secrets/tls_key}"

case $NGINX_SITE in tls | plain) ;; *) echo "NGINX_SITE must be tls or plain, not $NGINX_SITE" >&2; exit 1 ;; esac

names="NGINX_DIR NGINX_LISTEN NGINX_LISTEN_TLS NGINX_STATUS_LISTEN NGINX_WORKERS NGINX_TEMP NGINX_STATIC NGINX_UPLOAD_LIMIT
NGINX_ACCESS_LOG NGINX_MIME_TYPES NGINX_CERTIFICATE NGINX_CERTIFICATE_KEY"
script=
for name in $names NGINX_UPSTREAM NGINX_RESOLVER NGINX_TRUSTED_PROXIES; do
	eval "value=\$$name"
	case $value in *[\|\&\;\{\}\\]* | *'
'*) echo "$name holds a character that has no place in it" >&2; exit 1 ;; esac
	script="$script;s|\${$name}|$value|g"
done
mkdir -p "$NGINX_DIR" "$NGINX_TEMP"

render() { # TEMPLATE FILE
	sed "${script#;}" "$here/$1" >"$NGINX_DIR/$2"
}
render nginx.conf.template nginx.conf
render "server-$NGINX_SITE.conf.template" server.conf
render locations.conf.template locations.conf

for network in $NGINX_TRUSTED_PROXIES; do echo "set_real_ip_from $network;"; done >"$NGINX_DIR/trusted.conf"
for network in $NGINX_TRUSTED_PROXIES; do echo "$network 1;"; done >"$NGINX_DIR/trusted.geo"
{
	[ -z "$NGINX_RESOLVER" ] || echo "resolver $NGINX_RESOLVER valid=5s ipv6=off;"
	for server in $NGINX_UPSTREAM; do
		echo "server $server max_fails=2 fail_timeout=5s${NGINX_RESOLVER:+ resolve};"
	done
} >"$NGINX_DIR/upstream.conf"

[ $# -eq 0 ] || exec "$@"
