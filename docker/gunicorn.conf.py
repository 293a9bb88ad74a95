"""gunicorn settings of the web process, in containers and in the local cluster alike; values come from the environment.

`FORWARDED_ALLOW_IPS` lists the proxies (addresses or networks, separated by commas) whose X-Forwarded-For and
X-Forwarded-Proto headers are trusted. Never use `*`: clients could then claim any address.
"""

import os
import shutil
import tempfile
from typing import Any

from kamioi_site.observability.logs import logging_config

# Where worker processes store their Prometheus metrics; created once, in the arbiter, and inherited by them.
_metrics_directory = "" if os.environ.get("PROMETHEUS_MULTIPROC_DIR") else tempfile.mkdtemp(prefix="kamioi-metrics-")
if _metrics_directory:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_directory


def on_exit(server: Any) -> None:
    """Delete the metrics."""
    if _metrics_directory:
        shutil.rmtree(_metrics_directory, ignore_errors=True)


bind = os.environ.get("WEB_BIND", "0.0.0.0:8000")  # the container's own network
worker_class = "uvicorn_worker.UvicornWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# Loaded once, before the port is open: nginx sends nothing to a web that cannot answer yet. Workers share the memory.
preload_app = True
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
keepalive = 75  # longer than nginx keeps idle connections, so that nginx closes them
timeout = 60
graceful_timeout = int(os.environ.get("WEB_GRACEFUL_TIMEOUT", "25"))  # then event streams end; browsers reconnect
# Restart workers now and then, in case of a memory leak. Rarely, because their requests wait and event streams end.
max_requests = int(os.environ.get("WEB_MAX_REQUESTS", "250000"))
max_requests_jitter = max_requests // 5
control_socket_disable = True  # the file system is read-only
worker_tmp_dir = "/dev/shm"  # noqa: S108  # the heartbeat file: a disk could block
# gunicorn's access log contains query strings; `kamioi.access` logs each request without.
accesslog = None
# gunicorn's own log lines are redacted like the site's.
logconfig_dict = logging_config(
    style=os.environ.get("LOG_FORMAT", "json"),
    level=os.environ.get("LOG_LEVEL", "INFO"),
    access=os.environ.get("WEB_ACCESS_LOG", "") != "off",
)
