#!/bin/bash
# What `containers` does to the running site. A check fails, or prints a row of the table in docs/faults.md:
#   what, requests, failed GETs, failed POSTs, seconds from the first to the last failure, purchases lost, purchases doubled
# shellcheck disable=SC2034,SC2154,SC2317  # used by, and from `containers`; called by name
# A check NAME is the function check_NAME.
checks=(sizes alerts web redis replica primary everything release nine restart restore failover)
site=https://kamioi.example:$HTTPS_PORT certificate=$src/docker/secrets/tls_certificate

ask() { curl -sS -m 30 --cacert "$certificate" --resolve "kamioi.example:$HTTPS_PORT:127.0.0.1" "$@"; }
manage() { compose exec -T web /app/docker/entrypoint.sh manage "$@"; }
primary() { sed -n 's/^POSTGRES_PRIMARY=//p' "$src/docker/.env" | tail -1 | grep . || echo postgres; }
replica() { [ "$(primary)" = replica ] && echo postgres || echo replica; }
sql() { compose exec -T "${2:-$(primary)}" psql -U postgres -d kamioi -v ON_ERROR_STOP=1 -Atc "$1"; }
prometheus() { curl -fsS -G "http://127.0.0.1:9090/api/v1/$1" --data-urlencode "${@:2}"; }
within_seconds() { # SECONDS COMMAND: again and again until it succeeds
	local end=$((SECONDS + $1))
	shift
	until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 1; done
}
register() { # NAME: prints the token of a new customer, whose address counts as verified
	ask "$site/api/user/auth/register" -H 'Content-Type: application/json' \
		-d "{\"email\":\"$1@kamioi.example\",\"password\":\"a long pass phrase 7\",\"firstName\":\"C\",\"termsAgreed\":true}" | grep -oP '"token":"\K[^"]+'
	sql "UPDATE users SET email_verified_at = now() WHERE email = '$1@kamioi.example'" >/dev/null
}
all_healthy() { # every container runs and is not unhealthy, and the replica follows
	! compose ps -a --format '{{.Service}} {{.State}} {{.Health}}' | grep -vE '^migrate |running (healthy)?$' | grep -q . &&
		ask "$site/readyz" 2>/dev/null | grep -q '"replica": "used"'
}
wait_until_healthy() { within_seconds 300 all_healthy || { compose ps -a >&2; fail "not healthy"; }; }
verify() { manage verify_ledger --all "$@" || fail "verify_ledger"; }
verify_backups() {
	are_backups_right() {
		within "$src/docker/backup" check >"$work/backups.log" &&
			prometheus query 'query=kamioi_backup_last_success_timestamp_seconds' | tee -a "$work/backups.log" | grep -q '"value"'
	}
	within_seconds 240 are_backups_right || { cat "$work/backups.log" >&2; fail "docker/backup check"; }
}
plain_up() { # what somebody does later, for another reason: it replaces no web
	local webs
	webs=$(compose ps -q web | sort)
	compose up -d
	[ "$(compose ps -q web | sort)" = "$webs" ] || fail "a plain up replaces webs"
}
crash() { # SERVICE...: kill -9 of its first container, which the engine starts again. (`docker kill` would be a stop.)
	local service
	# shellcheck disable=SC2046
	kill -9 $(for service; do docker inspect -f '{{.State.Pid}}' "$(compose ps -q "$service" | head -1)"; done)
}

check() {
	local token status
	wait_until_healthy
	manage import_companies >/dev/null; manage import_brands >/dev/null; manage refresh_prices >/dev/null
	# A customer of the load buys more than a person may in a day.
	manage shell -v 0 -c 'from transactions.models import Setting; Setting.objects.filter(key__startswith="limit_").update(value="")'
	token=$(register "c$RANDOM$RANDOM")
	printf 'Date,Description,Amount\n%s,STARBUCKS STORE 1234,-4.50\n' "$(date -d '-3 days' +%F)" >"$work/one.csv"
	status=$(ask "$site/api/transactions/bulk" -H "Authorization: Bearer $token" -F "file=@$work/one.csv" | grep -oP '"status_url":"\K[^"]+')
	transactions() { ask "$site/api/user/transactions" -H "Authorization: Bearer $token"; }
	is_imported() { ask "$site$status" -H "Authorization: Bearer $token" | grep -q '"status":"completed"'; }
	is_booked() { transactions | grep -q '"status":"completed"'; }
	within_seconds 60 is_imported || fail "the bank file is not imported"
	compose exec -T worker-ai celery -A kamioi_site call process_llm_queue >/dev/null # else new merchants wait for up to five minutes
	within_seconds 90 is_booked || fail "the purchase is not booked"
	transactions | grep -q '"ticker":"SBUX"' || fail "the purchase is of another company"
	verify
	are_scraped() { ! prometheus targets state=active | grep -oE '"health":"(down|unknown)"' | grep -q .; }
	within_seconds 310 are_scraped || fail "a target of Prometheus is down"
	[ "$(prometheus targets state=active | grep -o '"health":"up"' | wc -l)" -ge 14 ] || fail "Prometheus has few targets"
	verify_backups
	say "all is well"
}

check_sizes() { # what the Dockerfile adds to its base, and with the stand-in
	local target base size
	product legacy
	size_of() { docker image inspect -f '{{.Size}}' "$1" </dev/null; }
	while read -r target base; do
		size=$(size_of "kamioi/$target:local")
		echo "| kamioi/$target | $(((size - $(size_of "$(image "$base")")) / 1000000)) MB | $((size / 1000000)) MB |"
	done <<-'END'
		app python
		legacy python
		nginx nginxinc/nginx-unprivileged
		pgbouncer debian
		barman postgres
	END
}

under_load() { # WHAT COMMAND...: runs it while 40 requests a second come in, until all is healthy; then prints the row
	local what=$1 user token load keys lost doubled
	shift
	user=load$RANDOM$RANDOM token=$(register "$user")
	rm -f "$work/stop"
	python3 "$here/load.py" "$HTTPS_PORT" "$certificate" "$token" "$work" >"$work/load" &
	load=$!
	sleep 5
	"$@"
	wait_until_healthy
	sleep 5
	touch "$work/stop"
	wait "$load" || fail "load.py"
	! grep 'POST 4' "$work/failures" || fail "a repeated POST was refused"
	keys="SELECT count(*) FROM transactions t JOIN users u ON u.id = t.user_id WHERE u.email = '$user@kamioi.example'"
	are_booked() { [ "$(sql "$keys AND t.status <> 'completed'")" = 0 ]; }
	within_seconds 120 are_booked || fail "purchases are not booked: $(sql "SELECT t.status, count(*) FROM transactions t GROUP BY 1")"
	lost=$(comm -23 <(cut -d' ' -f1 "$work/accepted" | sort) <(sql "SELECT substr(idempotency_key, 5) FROM transaction_keys WHERE idempotency_key LIKE 'api:load-%'" | sort) | tee "$work/lost" | wc -l)
	doubled=$(($(sql "$keys") - $(wc -l <"$work/accepted") + lost))
	verify
	read -r requests gets posts longest outage <"$work/load"
	echo "| $what | $requests | $gets | $posts | $outage s | $lost | $doubled |" | tee -a "$work/table"
	say "longest answer $longest s; failures: $(cut -d' ' -f2- "$work/failures" | sort | uniq -c | tr -s '\n ' ' ')"
	[ "$doubled" = 0 ] || fail "$doubled purchases are doubled"
	[ "$lost" = 0 ] || [ "${may_lose:-}" ] || fail "$lost purchases are lost"
}
no_get_failed() { ! grep -q ' GET ' "$work/failures" || fail "a GET failed"; }

check_web() { under_load "a web is killed" crash web; no_get_failed; }
check_redis() { under_load "Redis is killed" crash redis; }
check_replica() { under_load "the replica is killed" crash "$(replica)"; no_get_failed; }
check_primary() { under_load "the primary is killed" crash "$(primary)"; }
check_everything() {
	# shellcheck disable=SC2046
	under_load "every container is killed at once" crash $(compose ps --services)
}

check_restart() { # all containers are removed and made again: nothing is lost
	local before
	before=$(sql 'SELECT count(*) FROM transactions')
	compose down
	up
	wait_until_healthy
	[ "$(sql 'SELECT count(*) FROM transactions')" = "$before" ] || fail "transactions are lost"
	verify
	say "down and up: $before transactions"
}

check_release() {
	docker tag kamioi/app:local kamioi/app:next
	docker tag kamioi/nginx:local kamioi/nginx:next
	under_load "\`docker/release\`" within "$src/docker/release" next
	no_get_failed
	plain_up
	under_load "\`docker/release --nginx\`, back to the old version" within "$src/docker/release" local --nginx next
}

check_nine() {
	nine_webs() { compose up -d --no-deps --no-recreate --scale web=9 --wait web; }
	under_load "nine webs instead of three" nine_webs
	no_get_failed
	new_nginx() { compose up -d --no-deps --force-recreate --wait nginx; }
	under_load "nginx is replaced" new_nginx # its address may not be a web's
	compose up -d --no-deps --no-recreate --scale web=3 web
	wait_until_healthy
}

check_restore() { # a table is dropped under load; back to the second before
	local moment started
	verify_backups
	# Days that are over, so that there is something to seal.
	[ "$(sql 'SELECT count(*) FROM ledger_seals')" != 0 ] || sql "SET session_replication_role = replica; UPDATE ledger_transfers SET created_at = created_at - interval '2 days'; UPDATE audit_events SET at = at - interval '2 days'" >/dev/null
	manage shell -v 0 -c 'from transactions.tasks import seal_ledger; print(seal_ledger(), "days are sealed")'
	register anna >/dev/null
	started=$SECONDS
	within "$src/docker/backup" now
	say "backup: $((SECONDS - started)) s"
	accident() {
		moment=$(sql 'SELECT clock_timestamp()')
		manage erase_person anna@kamioi.example --yes >/dev/null
		sql 'DROP TABLE holdings CASCADE'
		started=$SECONDS
		within "$src/docker/restore" "$moment" --yes || fail "docker/restore"
		say "restored to $moment in $((SECONDS - started)) s"
	}
	may_lose=1 under_load "a table is dropped; \`docker/restore\` to the second before" accident
	may_lose=
	# Nothing from before the moment is gone.
	! grep -Fwf "$work/lost" "$work/accepted" | awk -v moment="$(date -d "$moment" +%s.%N)" '$3 < moment' | grep . || fail "lost, although older than $moment"
	[ "$(sql "SELECT count(*) FROM users WHERE email = 'anna@kamioi.example'")" = 0 ] || fail "an erased customer is back"
	verify --seals /var/lib/kamioi/media/seals.jsonl
	verify_backups
}

check_failover() { # and back again, so that both directions are seen
	local old new
	old=$(primary) new=$(replica)
	lose_primary() {
		crash "$old"
		docker stop -t 1 "$(compose ps -aq "$old")" >/dev/null
		within "$src/docker/failover" --yes
		plain_up # the old primary may not serve
		! compose exec -T "$old" pg_isready -q -h 127.0.0.1 || fail "two primaries"
		within "$src/docker/failover" rebuild --yes
	}
	may_lose=1 under_load "the primary is lost; \`docker/failover\` from $old to $new, and \`rebuild\`" lose_primary
	may_lose=
	plain_up
	[ "$(sql 'SELECT pg_is_in_recovery()' "$new")$(sql 'SELECT pg_is_in_recovery()' "$old")" = ft ] || fail "not one primary and one replica"
	verify_backups
}

check_alerts() { # a fresh installation tells nobody anything in its first ten minutes
	local started fired
	started=$(prometheus query 'query=process_start_time_seconds{job="prometheus"}' | grep -oP '"\K[0-9]+(?=[0-9.]*"\]\})')
	sleep $((started + 600 > EPOCHSECONDS ? started + 600 - EPOCHSECONDS : 0))
	fired=$(prometheus query 'query=count by (alertname) (max_over_time(ALERTS{alertstate="firing",alertname!="Watchdog"}[10m]))' -d time=$((started + 600)))
	! grep -oP '"alertname":"\K[^"]+' <<<"$fired" || fail "alerts fired"
	say "no alert in the first ten minutes"
}
