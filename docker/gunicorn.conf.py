"""The web process, in containers and in the local cluster alike. Values come from the environment.

`FORWARDED_ALLOW_IPS` names the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed (addresses or
networks, commas between); nobody else's are. Never `*`: the address would then be whatever a client claims.
"""

import os

bind = os.environ.get("WEB_BIND", "0.0.0.0:8000")  # a container's own network
worker_class = "uvicorn_worker.UvicornWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
keepalive = 75  # longer than nginx keeps an idle connection, so that nginx is the one that closes
timeout = 60
graceful_timeout = int(os.environ.get("WEB_GRACEFUL_TIMEOUT", "25"))  # event streams are cut then; browsers come back
max_requests = 20_000
max_requests_jitter = 4_000
control_socket_disable = True  # nothing is to be written beside /tmp
worker_tmp_dir = "/dev/shm"  # noqa: S108  # the heartbeat's file: a disk could block
accesslog = None if os.environ.get("WEB_ACCESS_LOG", "") == "off" else "-"
