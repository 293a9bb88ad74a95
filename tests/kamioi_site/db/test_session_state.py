"""Nothing of ours lives in a session: what PgBouncer's transaction pooling would break is in no source file.

A real PgBouncer runs in tests/docker; here is what no run of a few statements can show.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
APPS = ("kamioi_site", "transactions", "llm_center", "analytics")
# What outlives its transaction, or has to.
SESSION_STATE = {
    "a lock of the session": r"pg_(try_)?advisory_(un)?lock(_shared|_all)?\s*\(",
    "a setting of the session": (
        r"""["'\s]SET\s+(?!LOCAL\b|CONSTRAINTS\b|TRANSACTION\b)(SESSION\s+)?[a-z_.]+\s*(=|\bTO\b)"""
    ),
    "set_config for the session": r"set_config\([^)]*false\s*\)",
    "a table of the session": r"CREATE\s+TEMP(ORARY)?\s+TABLE(?![^;]*ON COMMIT DROP)",
    "notifications": r"\b(UNLISTEN|LISTEN|NOTIFY)\s+[a-z_]+\s*[;\"']",
    "a prepared statement": r"[\"']\s*(PREPARE|DEALLOCATE)\s",
    "a cursor on the server": r"\.iterator\(|chunked_cursor|WITH HOLD|\.cursor\(name|\.cursor\(\s*[\"']",
    "values of the session": r"\b(currval|lastval)\s*\(",
}
# It asks first whether PgBouncer is there: statements go as plain text then.
ELSEWHERE = {"kamioi_site/db/prepared.py": ["a prepared statement"]}
# The SET of an UPDATE or of a database is none of the session's.
_UPDATE = re.compile(
    r"(UPDATE\s+(ONLY\s+)?[\w.{}\"]+(\s+(AS\s+)?\w+)?|DO\s+UPDATE|ON\s+(DELETE|UPDATE)|ALTER\s+DATABASE\s+\S+)\s+SET\s",
    re.IGNORECASE,
)


def _found(text: str) -> list[str]:
    text = "\n".join(line for line in text.splitlines() if not re.match(r"\s*(#|--)", line))
    text = _UPDATE.sub("UPDATED ", text)
    return [what for what, pattern in SESSION_STATE.items() if re.search(pattern, text)]


def test_no_source_file_keeps_state_in_a_session():
    files = [path for app in APPS for kind in ("*.py", "*.sql") for path in (ROOT / app).rglob(kind)]
    assert len(files) > 100
    found = {str(path.relative_to(ROOT)): _found(path.read_text()) for path in files if "/migrations/" not in str(path)}
    assert {path: what for path, what in found.items() if what} == ELSEWHERE


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("SELECT pg_advisory_lock(1)", ["a lock of the session"]),
        ("SELECT pg_try_advisory_xact_lock(1)", []),
        ('cursor.execute("SET work_mem = 1")', ["a setting of the session"]),
        ('cursor.execute("SET LOCAL work_mem = 1; UPDATE a SET b = 1")', []),
        ("CREATE TEMP TABLE a (n int)", ["a table of the session"]),
        ("CREATE TEMP TABLE a (n int) ON COMMIT DROP", []),
        ("for row in rows.iterator():", ["a cursor on the server"]),
        ("UPDATE users AS u SET name = 'x'", []),
        ('"ALTER DATABASE kamioi SET jit = off"', []),
    ],
)
def test_the_search_finds_what_it_looks_for(text, what):
    assert _found(text) == what
