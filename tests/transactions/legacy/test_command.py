"""`manage.py migrate_from_sqlite`: every step, and exit codes."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from transactions.models import MigrationRun, Transaction

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def test_the_command_runs_every_step(target, legacy, tmp_path):
    def run_step(*arguments: str) -> str:
        out = StringIO()
        call_command("migrate_from_sqlite", *arguments, stdout=out)
        return out.getvalue()

    file = str(legacy)
    assert "rejected" in run_step("plan", file)
    assert "Nothing was written" in run_step("backup", file, "--to", str(tmp_path / "b"), "--dry-run")
    assert "SHA-256" in run_step("backup", file, "--to", str(tmp_path / "b"))
    assert {path.suffix for path in (tmp_path / "b").iterdir()} == {".db", ".sha256", ".dump"}
    assert "tables are logged" in run_step("sync", file, "--install")
    assert "Nothing was written" in run_step("copy", file, "--dry-run")
    assert "rows were rejected" in run_step("copy", file)
    assert "Next: `validate FILE`" in run_step("status")
    assert "Both sides agree." in run_step("validate", file)
    assert "The cut-over is possible" in run_step("cutover", "--dry-run")
    assert "0 changes applied" in run_step("sync", file)
    assert "10%" in run_step("cutover", "--percent", "10")
    assert "in charge" in run_step("cutover")
    assert "dual-write is on" in run_step("dual-write", "status")
    run_step("dual-write", "send")
    assert "in charge" in run_step("status")
    run_step("finish", "--dry-run")
    assert "no longer depends" in run_step("finish", "--yes")
    runs = dict(MigrationRun.objects.values_list("command", "status"))
    assert set(runs.values()) == {"done"}
    assert {"backup", "copy", "validate", "sync", "cutover", "finish"} <= set(runs)
    with pytest.raises(CommandError):
        run_step("rollback", "--yes")


def test_validate_exits_with_2_when_the_sides_differ(copied, legacy):
    Transaction.objects.filter(pk=3).delete()
    with pytest.raises(SystemExit) as ended:
        call_command("migrate_from_sqlite", "validate", str(legacy), stdout=StringIO())
    assert ended.value.code == 2
    assert MigrationRun.objects.get(command="validate").status == "differs"
