"""Ranges of the bulk tables are compared in processes of their own, which do not load Django."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers import ROOT
from transactions.legacy.load.copy import CopyResult
from transactions.legacy.validate.validation import validate
from transactions.models import Transaction


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_several_processes_find_the_same_differences(
    copied: CopyResult, legacy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transactions.legacy.validate.bulk_comparison._MIN_ROWS_FOR_PROCESSES", 0)
    assert validate(legacy, samples=0).clean
    Transaction.objects.filter(pk=1).update(merchant="CHANGED")
    result = validate(legacy, samples=0)
    assert [(one.legacy_id, one.column) for table in result.tables for one in table.differences] == [("1", "merchant")]


def test_the_oracle_does_not_import_django() -> None:
    modules = (
        "transactions.legacy.validate.bulk_comparison, transactions.legacy.validate.tables, llm_center.legacy.oracle"
    )
    program = f"import sys, {modules}; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
