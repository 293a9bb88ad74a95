"""SQL statements in files, one per file, in the `sql` package of each app."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path


def sql_loader(package_file: str) -> Callable[[str], str]:
    """Return a function that reads `<name>.sql` beside this file once per process.

    `{include other}` in a file is replaced by the content of `other.sql`.
    """
    folder = Path(package_file).parent

    @cache
    def load_sql(name: str) -> str:
        text = (folder / f"{name}.sql").read_text(encoding="utf-8")
        return re.sub(r"\{include (\w+)\}", lambda match: load_sql(match[1]).rstrip(), text)

    return load_sql
