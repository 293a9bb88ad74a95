#!/bin/sh
# Removes what dockerd left in the network of this machine: its chains and bridge, nothing else.
set -eu
for i in iptables ip6tables; do for t in filter nat; do
	$i -t $t -S | grep -E -- '^-A (FORWARD|PREROUTING|OUTPUT|POSTROUTING) .*(-j DOCKER|docker0)' | sed 's/^-A/-D/' | while read -r rule; do eval "$i -t $t $rule"; done
	for c in $($i -t $t -S | sed -n 's/^-N \(DOCKER.*\)/\1/p'); do $i -t $t -F $c; done
	for c in $($i -t $t -S | sed -n 's/^-N \(DOCKER.*\)/\1/p'); do $i -t $t -X $c; done
done; done
ip link delete docker0 2>/dev/null || :
