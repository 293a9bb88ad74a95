"""SQL statements in files, one per file, in the `sql` package of each app.

A statement that Citus refuses, or runs at a cost that grows with the table, has a second file `<name>.citus.sql`.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from kamioi_site.db.distribution import on_citus


def sql_loader(package_file: str) -> Callable[[str], str]:
    """Return a function that reads `<name>.sql` beside this file once per process, on Citus `<name>.citus.sql` if any.

    `{include other}` in a file is replaced by the content of `other.sql`.
    """
    folder = Path(package_file).parent

    @cache
    def read(name: str, ending: str) -> str:
        path = folder / f"{name}{ending}"
        text = (path if path.exists() else folder / f"{name}.sql").read_text(encoding="utf-8")
        return re.sub(r"\{include (\w+)\}", lambda match: read(match[1], ending).rstrip(), text)

    def load_sql(name: str) -> str:
        plain, sharded = read(name, ".sql"), read(name, ".citus.sql")
        return sharded if sharded != plain and on_citus() else plain

    return load_sql
