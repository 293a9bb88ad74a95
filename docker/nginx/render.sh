#!/bin/sh
# Writes nginx's configuration from the templates beside this file into NGINX_DIR, with the values of the environment.
#   NGINX_SITE             tls (default) or plain
#   NGINX_UPSTREAM         the web processes, `host:port` or a DNS name with all of them, blanks between
#   NGINX_RESOLVER         a DNS server: names of NGINX_UPSTREAM are then asked again and again (nginx 1.27.3 and newer);
#                          `auto` is the first one of /etc/resolv.conf
#   NGINX_RELOAD_SECONDS   how often nginx reloads its certificate; empty is never
#   NGINX_TRUSTED_PROXIES  networks of load balancers in front of nginx whose X-Forwarded-For and -Proto are believed
#   NGINX_PUBLIC_PORT      the port of browsers for https, named in redirects unless it is 443
# With an argument, that is run afterwards instead of this script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

: "${NGINX_DIR:=/tmp/nginx}" "${NGINX_SITE:=tls}" "${NGINX_TRUSTED_PROXIES:=}" "${NGINX_RESOLVER:=}"
: "${NGINX_UPSTREAM:=web:8000}" "${NGINX_LISTEN:=8080}" "${NGINX_LISTEN_TLS:=8443}" "${NGINX_STATUS_LISTEN:=8081}"
: "${NGINX_WORKERS:=auto}" "${NGINX_TEMP:=/var/cache/nginx}" "${NGINX_STATIC:=/srv/static}" "${NGINX_UPLOAD_LIMIT:=513m}"
: "${NGINX_ACCESS_LOG:=/dev/stdout}" "${NGINX_MIME_TYPES:=/etc/nginx/mime.types}"
: "${NGINX_CERTIFICATE:=/run/secrets/tls_certificate}" "${NGINX_CERTIFICATE_KEY:=/run/secrets/tls_key}"
: "${NGINX_PUBLIC_PORT:=443}"

if [ "$NGINX_RESOLVER" = auto ]; then
	NGINX_RESOLVER=$(sed -n 's/^nameserver[[:space:]]*//p' "${RESOLV_CONF:-/etc/resolv.conf}" | head -n 1)
	case $NGINX_RESOLVER in *:*) NGINX_RESOLVER="[$NGINX_RESOLVER]" ;; esac
fi
case $NGINX_SITE in tls | plain) ;; *) echo "NGINX_SITE must be tls or plain, not $NGINX_SITE" >&2; exit 1 ;; esac

# Where the engine allows fewer open files, nginx would complain at each start.
# shellcheck disable=SC3045  # dash and busybox know -H
NGINX_FILES=$(ulimit -Hn)
case $NGINX_FILES in unlimited) NGINX_FILES=65536 ;; esac
[ "$NGINX_FILES" -lt 65536 ] || NGINX_FILES=65536
NGINX_PORT_SUFFIX=; [ "$NGINX_PUBLIC_PORT" = 443 ] || NGINX_PORT_SUFFIX=:$NGINX_PUBLIC_PORT
# HTTP/2 is a directive since 1.25.1; before, it is a word of `listen`.
version=$(PATH=$PATH:/usr/sbin nginx -v 2>&1 | sed -n 's|.*nginx/\([0-9]*\)\.\([0-9]*\)\..*|\1 \2|p')
NGINX_HTTP2="http2 on"; NGINX_LISTEN_HTTP2=
if [ "${version% *}" = 1 ] && [ "${version#* }" -lt 26 ]; then NGINX_HTTP2="# no directive yet"; NGINX_LISTEN_HTTP2=" http2"; fi

names="NGINX_DIR NGINX_LISTEN NGINX_LISTEN_TLS NGINX_STATUS_LISTEN NGINX_WORKERS NGINX_TEMP NGINX_STATIC NGINX_UPLOAD_LIMIT
NGINX_ACCESS_LOG NGINX_MIME_TYPES NGINX_CERTIFICATE NGINX_CERTIFICATE_KEY NGINX_FILES NGINX_PORT_SUFFIX NGINX_HTTP2
NGINX_LISTEN_HTTP2"
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

NGINX_TRUSTED_PROXIES=$(echo "$NGINX_TRUSTED_PROXIES" | tr ',' ' ')
for network in $NGINX_TRUSTED_PROXIES; do echo "set_real_ip_from $network;"; done >"$NGINX_DIR/trusted.conf"
for network in $NGINX_TRUSTED_PROXIES; do echo "$network 1;"; done >"$NGINX_DIR/trusted.geo"
{
	[ -z "$NGINX_RESOLVER" ] || echo "resolver $NGINX_RESOLVER valid=5s ipv6=off;"
	for server in $NGINX_UPSTREAM; do
		echo "server $server max_fails=2 fail_timeout=5s${NGINX_RESOLVER:+ resolve};"
	done
} >"$NGINX_DIR/upstream.conf"

if [ -n "${NGINX_RELOAD_SECONDS:-}" ]; then
	(while sleep "$NGINX_RELOAD_SECONDS"; do nginx -e stderr -c "$NGINX_DIR/nginx.conf" -s reload || :; done) &
fi
[ $# -eq 0 ] || exec "$@"
