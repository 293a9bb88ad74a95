#!/bin/sh
# What a container of the image does: one role, in the foreground, as process 1.
#   web                the site, by gunicorn (docker/gunicorn.conf.py)
#   worker QUEUE       a Celery pool for one queue: ai, transactions, analytics, notifications or bulk
#   beat               the scheduler; there must be exactly one
#   migrate            waits for the database, brings it to this release and ends
#   wait               waits until the database is at this release, and ends: for what must not run before the migration
#   manage ARGUMENTS   any command of manage.py
#   health             whether this container is well: for the health checks of engines and orchestrators
set -eu
cd "$(dirname "$0")/.."

# What a container notes about itself. Uploads go to TMPDIR, which containers may share.
run=${KAMIOI_RUN:-${TMPDIR:-/tmp}}

# Where the processes of this container count for Prometheus; what an earlier start left is over.
count_here() {
	export PROMETHEUS_MULTIPROC_DIR="${PROMETHEUS_MULTIPROC_DIR:-$run/kamioi-metrics}"
	rm -rf "$PROMETHEUS_MULTIPROC_DIR"
	mkdir -p "$PROMETHEUS_MULTIPROC_DIR"
}

role=${1:-web}
[ $# -eq 0 ] || shift
remember() { # the health check asks what this container is
	echo "$*" >"$run/kamioi-role"
	rm -f "$run/kamioi-failures"
}
patiently() { # COMMAND: again and again until it succeeds, for WAIT_SECONDS
	until "$@"; do
		waited=$((${waited:-0} + 3))
		[ "$waited" -lt "${WAIT_SECONDS:-600}" ] || { echo "gave up after $waited seconds" >&2; exit 1; }
		sleep 3
	done
}

case $role in
web)
	remember web
	# Uploads of a process that was killed; those of running ones are younger.
	[ -z "${KAMIOI_RUN:-}" ] || find "$TMPDIR" -xdev -mindepth 1 -mtime +1 -delete 2>/dev/null || :
	count_here
	exec gunicorn -c docker/gunicorn.conf.py kamioi_site.asgi:application
	;;
worker)
	queue=${1:?worker needs a queue: ai, transactions, analytics, notifications or bulk}
	case $queue in
	ai | transactions | analytics | notifications | bulk) ;;
	*) echo "There is no queue $queue." >&2; exit 2 ;;
	esac
	remember "worker $queue"
	count_here
	# SIGTERM is a warm shutdown: what runs is finished (300 s at most), what waits goes back.
	exec celery -A kamioi_site worker -l "${LOG_LEVEL:-info}" -Q "$queue" -n "$queue@%h" \
		-c "${WORKER_CONCURRENCY:-2}" --max-memory-per-child "${WORKER_MAX_MEMORY_KB:-800000}"
	;;
beat)
	remember beat
	exec celery -A kamioi_site beat -l "${LOG_LEVEL:-info}" --pidfile=
	;;
migrate)
	patiently python docker/health.py database
	exec python manage.py migrate --noinput
	;;
wait)
	patiently python docker/health.py database
	patiently python manage.py migrate --check
	;;
manage)
	exec python manage.py "$@"
	;;
health)
	# shellcheck disable=SC2046  # the role is a word or two
	exec python docker/health.py $(cat "$run/kamioi-role")
	;;
*)
	echo "usage: entrypoint.sh web | worker QUEUE | beat | migrate | wait | manage ARGUMENTS | health" >&2
	exit 2
	;;
esac
