"""The web process, in containers and in the local cluster alike. Values come from the environment.

`FORWARDED_ALLOW_IPS` names the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed (addresses or
networks, commas between); nobody else's are. Never `*`: the address would then be whatever a client claims.
"""

import os
import shutil
import tempfile
from typing import Any

from kamioi_site.observability.logs import logging_config

# The worker processes count here for Prometheus; read once, in the arbiter, and inherited by them.
_made = "" if os.environ.get("PROMETHEUS_MULTIPROC_DIR") else tempfile.mkdtemp(prefix="kamioi-metrics-")
if _made:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _made


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    if _made:
        shutil.rmtree(_made, ignore_errors=True)


bind = os.environ.get("WEB_BIND", "0.0.0.0:8000")  # a container's own network
worker_class = "uvicorn_worker.UvicornWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
keepalive = 75  # longer than nginx keeps an idle connection, so that nginx is the one that closes
timeout = 60
graceful_timeout = int(os.environ.get("WEB_GRACEFUL_TIMEOUT", "25"))  # event streams are cut then; browsers come back
# A process is renewed now and then, in case something it uses grows. Rarely: meanwhile its share of the requests waits, and its
# event streams are cut.
max_requests = int(os.environ.get("WEB_MAX_REQUESTS", "250000"))
max_requests_jitter = max_requests // 5
control_socket_disable = True  # nothing is to be written beside /tmp
worker_tmp_dir = "/dev/shm"  # noqa: S108  # the heartbeat's file: a disk could block
# No access log of gunicorn: its lines hold query strings. `kamioi.access` writes one line a request without.
accesslog = None
# gunicorn's own lines go through the same redaction as the site's.
logconfig_dict = logging_config(
    style=os.environ.get("LOG_FORMAT", "json"),
    level=os.environ.get("LOG_LEVEL", "INFO"),
    access=os.environ.get("WEB_ACCESS_LOG", "") != "off",
)
