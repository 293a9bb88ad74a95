#!/bin/bash
# Gives Kibana's own user its password: it may do what Kibana needs, and no more.
set -euo pipefail

curl --silent --show-error --fail -u "elastic:$(</run/secrets/elastic_password)" \
	-H 'Content-Type: application/json' -X POST http://elasticsearch:9200/_security/user/kibana_system/_password \
	--data "{\"password\": \"$(</run/secrets/kibana_password)\"}"
