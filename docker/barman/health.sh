#!/bin/bash
# The WAL is being received: without that, nothing after the last base backup can be restored.
set -euo pipefail
grep -aqsl pg_receivewal /proc/[0-9]*/cmdline
