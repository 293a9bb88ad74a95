#!/bin/sh
# What a container of the image does: one role, in the foreground, as process 1.
#   web                the site, by gunicorn (docker/gunicorn.conf.py)
#   worker QUEUE       a Celery pool for one queue: ai, transactions, analytics, notifications or bulk
#   beat               the scheduler; there must be exactly one
#   migrate            brings the database to this release and ends
#   manage ARGUMENTS   any command of manage.py
#   health             whether this container is well: for the health checks of engines and orchestrators
set -eu
cd "$(dirname "$0")/.."

# Where the processes of this container count for Prometheus; what an earlier start left is over.
count_here() {
	export PROMETHEUS_MULTIPROC_DIR="${PROMETHEUS_MULTIPROC_DIR:-${TMPDIR:-/tmp}/kamioi-metrics}"
	rm -rf "$PROMETHEUS_MULTIPROC_DIR"
	mkdir -p "$PROMETHEUS_MULTIPROC_DIR"
}

role=${1:-web}
[ $# -eq 0 ] || shift
remember() { # the health check asks what this container is
	echo "$*" >"${TMPDIR:-/tmp}/kamioi-role"
}

case $role in
web)
	remember web
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
	exec python manage.py migrate --noinput
	;;
manage)
	exec python manage.py "$@"
	;;
health)
	# shellcheck disable=SC2046  # the role is a word or two
	exec python docker/health.py $(cat "${TMPDIR:-/tmp}/kamioi-role")
	;;
*)
	echo "usage: entrypoint.sh web | worker QUEUE | beat | migrate | manage ARGUMENTS | health" >&2
	exit 2
	;;
esac
