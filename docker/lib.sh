#!/bin/sh
# What docker/release, backup, restore and failover share; they source it. Variables: here, DC.
here=$(cd "$(dirname "$0")" && pwd)
DOCKER=${DOCKER:-docker}
DC="$DOCKER compose -f $here/compose.yml"
[ ! -e "$here/compose.override.yml" ] || DC="$DC -f $here/compose.override.yml" # what a machine does differently
settings=${SETTINGS:-$here/.env}

say() { printf '%s  %s\n' "$(date -u +%T)" "$*" >&2; }
fail() { echo "$*" >&2; exit 1; }
usage() { # the comment at the head of the script
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "$0"
}
setting() { # NAME: its value in docker/.env, or nothing
	[ -e "$settings" ] || return 0
	sed -n "s/^$1=//p" "$settings" | tail -n 1
}
set_setting() { # NAME VALUE: kept in docker/.env, so that the next plain `docker compose up -d` agrees
	touch "$settings"
	{ grep -v "^$1=" "$settings" || :; echo "$1=$2"; } >"$settings.new"
	mv "$settings.new" "$settings"
	export "$1=$2"
}
confirm() { # WHAT WORD: asks for the word, unless --yes was given
	echo "$1" >&2
	[ -z "${yes:-}" ] || return 0
	[ -t 0 ] || fail "Not confirmed: there is no terminal; give --yes."
	printf 'Type %s to go on: ' "$2" >&2
	read -r answer
	[ "$answer" = "$2" ] || fail "Nothing was changed."
}
sql() { # SERVER QUERY, as the administrator
	# shellcheck disable=SC2086
	$DC exec -T "$1" psql -U postgres -d kamioi -v ON_ERROR_STOP=1 -Atc "$2"
}
in_barman() { # COMMAND in Barman's container
	# shellcheck disable=SC2086
	$DC --profile backup exec -T -e PGPASSFILE=/tmp/pgpass barman "$@"
}
barman() { # ARGUMENTS of Barman
	in_barman barman -c /tmp/barman/barman.conf "$@"
}
patiently() { # COMMAND: again and again until it succeeds, for a minute
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -lt 30 ] || fail "Barman is not ready: $*"
		sleep 2
	done
}
receive_anew() { # fails when its container is just starting to receive
	barman receive-wal --stop kamioi >/dev/null 2>&1 || :
	barman receive-wal --reset kamioi
}
follow_new_history() { # After a restore or a fail-over: what Barman received last may not be in the new primary's history
	# shellcheck disable=SC2086
	$DC --profile backup up -d --no-deps barman
	patiently in_barman test -e /tmp/barman/barman.conf
	patiently receive_anew
	barman cron
	patiently in_barman /etc/kamioi/health.sh
	"$here/backup" now
}
primary() { setting POSTGRES_PRIMARY | grep . || echo postgres; }
replica() { setting POSTGRES_REPLICA | grep . || echo replica; }
