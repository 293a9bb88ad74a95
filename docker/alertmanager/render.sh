#!/bin/sh
# Writes Alertmanager's configuration into ALERTMANAGER_DIR: alertmanager.yml beside this file, and receivers.
#   ALERT_PAGE_EMAIL, ALERT_TICKET_EMAIL    recipients, separated by commas; tickets go to the recipients of pages by default
#   ALERT_PAGE_WEBHOOK_FILE, ALERT_TICKET_WEBHOOK_FILE, ALERT_HEARTBEAT_WEBHOOK_FILE   files with a URL each, which is
#                           a secret: whoever knows it can post there; empty for none. Tickets as above
#   EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD_FILE, DEFAULT_FROM_EMAIL   as for Kamioi itself
#   ALERT_RUNBOOKS_URL      prefix of docs/runbooks/… in a message
# With arguments, runs them as a command afterwards.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

: "${ALERTMANAGER_DIR:=/tmp/alertmanager}" "${ALERT_PAGE_EMAIL:=}" "${ALERT_TICKET_EMAIL:=$ALERT_PAGE_EMAIL}"
: "${EMAIL_HOST:=}" "${EMAIL_PORT:=587}" "${EMAIL_USE_TLS:=true}" "${EMAIL_HOST_USER:=}" "${EMAIL_HOST_PASSWORD_FILE:=}"
: "${DEFAULT_FROM_EMAIL:=Kamioi <no-reply@localhost>}" "${ALERT_RUNBOOKS_URL:=}"

fail() { echo "$*" >&2; exit 1; }
content() { # FILE, which may be missing: its content on one line
	if [ -n "$1" ] && [ -s "$1" ]; then tr -d '\r\n' <"$1"; fi
}
quoted() { # VALUE as YAML
	case $1 in *'
'*) fail "an address has more than one line" ;; esac
	printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"
}
email() { # TO
	[ -n "$1" ] || return 0
	printf '    email_configs:\n'
	printf '      - to: %s\n        send_resolved: true\n        html: ""\n' "$(quoted "$1")"
	printf '        headers: {Subject: %s}\n' "'{{ template \"kamioi.subject\" . }}'"
	printf '        text: %s\n' "'{{ template \"kamioi.text\" . }}'"
}
webhook() { # URL SEND_RESOLVED
	[ -n "$1" ] || return 0
	case $1 in http://* | https://*) ;; *) fail "a webhook must begin with https:// or http://" ;; esac
	printf '    webhook_configs:\n      - url: %s\n        send_resolved: %s\n' "$(quoted "$1")" "$2"
}

page=$(content "${ALERT_PAGE_WEBHOOK_FILE:-}")
ticket=$(content "${ALERT_TICKET_WEBHOOK_FILE:-}")
: "${ticket:=$page}"
heartbeat=$(content "${ALERT_HEARTBEAT_WEBHOOK_FILE:-}")
[ -z "$ALERT_PAGE_EMAIL$ALERT_TICKET_EMAIL" ] || [ -n "$EMAIL_HOST" ] || fail "ALERT_PAGE_EMAIL needs EMAIL_HOST"
case $EMAIL_USE_TLS in 0 | [Ff]alse | [Nn]o | [Oo]ff) EMAIL_USE_TLS=false ;; *) EMAIL_USE_TLS=true ;; esac
case $ALERT_RUNBOOKS_URL in *[\{\}\"]*) fail "ALERT_RUNBOOKS_URL contains an invalid character" ;; esac
[ -n "$ALERT_PAGE_EMAIL$page" ] || echo "No receiver for alerts: set ALERT_PAGE_EMAIL or a webhook (docs/monitoring.md)." >&2

umask 077
mkdir -p "$ALERTMANAGER_DIR"
cp "$here/kamioi.tmpl" "$ALERTMANAGER_DIR/kamioi.tmpl"
printf '{{ define "kamioi.runbooks" }}%s{{ end }}\n' "$ALERT_RUNBOOKS_URL" >"$ALERTMANAGER_DIR/runbooks.tmpl"
{
	cat "$here/alertmanager.yml"
	printf 'templates: [%s]\n' "$(quoted "$ALERTMANAGER_DIR/*.tmpl")"
	if [ -n "$EMAIL_HOST" ]; then
		printf 'global:\n  smtp_smarthost: %s\n  smtp_from: %s\n' "$(quoted "$EMAIL_HOST:$EMAIL_PORT")" "$(quoted "$DEFAULT_FROM_EMAIL")"
		printf '  smtp_require_tls: %s\n' "$EMAIL_USE_TLS"
		if [ -n "$EMAIL_HOST_USER" ]; then
			printf '  smtp_auth_username: %s\n' "$(quoted "$EMAIL_HOST_USER")"
			printf '  smtp_auth_password: %s\n' "$(quoted "$(content "$EMAIL_HOST_PASSWORD_FILE")")"
		fi
	fi
	printf 'receivers:\n  - name: page\n'
	email "$ALERT_PAGE_EMAIL"
	webhook "$page" true
	printf '  - name: ticket\n'
	email "$ALERT_TICKET_EMAIL"
	webhook "$ticket" true
	printf '  - name: heartbeat\n'
	webhook "$heartbeat" false
} >"$ALERTMANAGER_DIR/alertmanager.yml"

[ $# -eq 0 ] || exec "$@"
