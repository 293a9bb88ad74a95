#!/bin/sh
# redis.conf and the password, which no process list shows.
set -eu
umask 077
{
	cat /etc/kamioi/redis.conf
	printf 'requirepass %s\n' "$(cat /run/secrets/redis_password)"
} >/tmp/redis.conf
exec redis-server /tmp/redis.conf
