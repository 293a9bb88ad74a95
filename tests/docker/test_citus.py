"""The tests of services and selectors once more, on a Citus cluster that `CITUS_URL` names: see `tests/citus.py`.

There is no Debian package of Citus, so this only runs with an existing cluster: an empty database called `test_<name>`
on the coordinator, with the extension there and on the workers, and the workers added (`citus_add_node`).
`CITUS_URL=… pytest -m citus` does the same by hand. It takes a few minutes with two shards:
`ALTER DATABASE test_<name> SET citus.shard_count = 2`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.skipif(not os.environ.get("CITUS_URL"), reason="CITUS_URL names no cluster")
def test_services_and_selectors_work_on_a_citus_cluster(tmp_path: Path) -> None:
    env = os.environ | {"KAMIOI_TEST_HOME": str(tmp_path)}
    for name in [name for name in env if name.startswith(("PYTEST_", "KAMIOI_TEST_REDIS", "REDIS_", "DJANGO_"))]:
        del env[name]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "citus"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert (passed := re.search(r"(\d+) passed", done.stdout))
    assert int(passed[1]) >= 150
