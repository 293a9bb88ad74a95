"""The processing tests once more, on a Citus cluster that `CITUS_URL` names.

There is no Debian package of Citus, so this only runs with an existing cluster: an empty database called `test_<name>`
on the coordinator, with the extension there and on the workers, and the workers added (`citus_add_node`).
"""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
URL = os.environ.get("CITUS_URL", "")
# Two violate a key with an INSERT over many shards: Citus refuses it without the error code. One expects the names of
# partitions, which are shard names on Citus.
OTHERWISE_THERE = "not sql10 and not sql12 and not the_months_of_an_old_statement_are_made"


@pytest.mark.skipif(not URL, reason="CITUS_URL names no cluster")
def test_what_is_processed_on_one_postgresql_is_processed_on_a_citus_cluster(tmp_path: Path) -> None:
    parts = urlsplit(URL)
    assert parts.path.startswith("/test_"), "CITUS_URL: the database has to be called test_<name>"

    def run(*command: str, url: str = URL) -> None:
        env = os.environ | {"DATABASE_URL": url, "KAMIOI_HOME": str(tmp_path), "KAMIOI_TEST_HOME": str(tmp_path)}
        for name in [name for name in env if name.startswith(("PYTEST_", "KAMIOI_TEST_REDIS", "REDIS_", "DJANGO_"))]:
            del env[name]
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]

    run("manage.py", "migrate", "-v0")
    run("manage.py", "distribute")
    # Tests prepare rows and process them in one transaction; this is for what they prepare.
    setting = f"ALTER DATABASE \"{parts.path[1:]}\" SET citus.multi_shard_modify_mode = 'sequential'"
    run("manage.py", "shell", "-v0", "-c", f"from django.db import connection as c; c.cursor().execute({setting!r})")
    found = urlunsplit(parts._replace(path="/" + parts.path.removeprefix("/test_")))  # tests put test_ before it
    run(
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "--reuse-db",
        "-k",
        OTHERWISE_THERE,
        "tests/transactions/services/test_processing.py",
        "tests/transactions/services/test_ingest.py",
        url=found,
    )
