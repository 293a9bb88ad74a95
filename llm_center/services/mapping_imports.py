"""Mappings come in by the file: a million rows in the background, bad ones reported, the directory filled in sets.

The file is read twice over: first every row into the log of proposals, batch by batch with its rejects and counters in one
database transaction; then merchant by merchant into the directory. Both go on where they stood after a kill -9. Who
uploads a file approves what it says, with the exceptions that protect money: what a reviewer decided otherwise stays, and what
the catalogue contradicts, what was rejected before, what the file itself is not sure of, and what needs two people goes to the
review queue.
"""

import hashlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import groupby, islice
from typing import BinaryIO, cast
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.db import connection, transaction
from django.utils import timezone
from psycopg2.extras import execute_values

from kamioi_site.http.downloads import csv_line, rows_in_pages
from llm_center import matcher
from llm_center.cache import invalidate_mappings
from llm_center.live_settings import FOUR_EYES_LIMIT
from llm_center.mapping_file import MappingFileError, MappingRow, read_mappings
from llm_center.models import LlmMapping, MappingDecision, MappingImport, MappingImportKey
from llm_center.services.brands import refresh_catalogue
from llm_center.services.mapping_log import record_log_deltas
from llm_center.services.proposal_queue import auto_approval_threshold, merchant_snapshot, update_merchants
from transactions.models import Company, Merchant, User
from transactions.rules.merchant_key import normalise
from transactions.services.background_tasks import create_task, heartbeat, run_task, send_task
from transactions.services.processing import release_waiting_transactions
from transactions.statements.values import RowError

BATCH = 10_000
MERCHANTS = 2_000


def upload_mapping_file(
    *, filename: str, content: "File[bytes]", actor: User, note: str = "", send: bool = True
) -> MappingImport:
    """Keep the file and ask for its import in the background. Raises MappingFileError: too large, or imported before."""
    size = content.size or 0
    if size > settings.STATEMENT_MAX_BYTES:
        raise MappingFileError(f"{filename} has {size:,} bytes; at most {settings.STATEMENT_MAX_BYTES:,} are accepted.")
    digest = hashlib.sha256()
    for chunk in content.chunks():
        digest.update(chunk)
    content.seek(0)
    before = MappingImport.objects.filter(sha256=digest.hexdigest()).first()
    if before is not None:
        raise MappingFileError(f"This file was imported on {before.created_at:%Y-%m-%d} as {before.filename}.")
    with transaction.atomic():
        task = create_task(name="import_mappings", user=actor, arguments={"filename": filename})
        imported = MappingImport(task=task, filename=filename[:255], note=note, size=size, sha256=digest.hexdigest())
        imported.file.save(f"{task.pk}.csv", content, save=False)
        imported.save()
        if send:
            send_task(task=task)
    return imported


def run_mapping_import(
    *, task_id: UUID | str, on_progress: Callable[[int], None] | None = None, release_later: bool = False
) -> MappingImport | None:
    """Run the import as its background task; None when another worker has it, or it is done.

    Args:
        release_later: what waits for the merchants is released by a task of its own, for a caller whom somebody waits for.
    """
    with run_task(task_id=task_id) as task:
        if task is None:
            return None
        imported = MappingImport.objects.get(task=task)

        def told() -> None:
            heartbeat(task=task, progress=imported.rows_done)
            if on_progress:
                on_progress(imported.rows_done)

        _rows_store(imported, told)
        released = _directory_fill(imported, told, release_later=release_later)
        task.progress = task.total = imported.rows_done
        task.result = {
            "rows": imported.rows_done,
            "added": imported.rows_added,
            "rejected": imported.rows_rejected,
            "approved": imported.merchants_approved,
            "kept": imported.merchants_kept,
            "review": imported.merchants_review,
            "released": released,
        }
    return MappingImport.objects.get(pk=imported.pk)


def mapping_rejects_csv(*, imported: MappingImport) -> Iterator[str]:
    """The rejected rows as CSV; cells that a spreadsheet would run as a formula are quoted with `'`."""
    yield "row,field,reason,original\r\n"
    columns = ("row_number", "field", "reason", "raw")
    for number, *texts in rows_in_pages(imported.rejects.all(), columns, order=("row_number",)):
        yield csv_line([str(number), *texts])


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows_store(imported: MappingImport, on_progress: Callable[[], None]) -> None:
    with imported.file.open("rb") as file:
        items = islice(read_mappings(cast("BinaryIO", file)), imported.rows_done, None)
        while batch := list(islice(items, BATCH)):
            _batch_store(imported, batch)
            on_progress()


def _batch_store(imported: MappingImport, batch: list[MappingRow | RowError]) -> None:
    rows = [item for item in batch if isinstance(item, MappingRow)]
    errors = [item for item in batch if isinstance(item, RowError)]
    tickers = {row.ticker for row in rows}
    listed = dict(Company.objects.filter(ticker__in=tickers, is_listed=True).values_list("ticker", "name"))
    good = []
    for row in rows:
        key = normalise(row.merchant)
        if row.ticker not in listed:
            errors.append(RowError(row.row_number, "ticker", f"{row.ticker} is not a listed company", row.raw))
        elif not key:
            errors.append(RowError(row.row_number, "merchant", "nothing of it names a merchant", row.raw))
        else:
            good.append((row, key))
    now, uploader = timezone.now(), imported.task.user_id
    with transaction.atomic(), connection.cursor() as cursor:
        current = MappingImport.objects.select_for_update().get(pk=imported.pk)
        if current.rows_done != imported.rows_done:
            raise MappingFileError("Another worker is importing this file.")
        if good:
            execute_values(
                cursor.cursor,
                "INSERT INTO llm_mappings (merchant_name, merchant_key, ticker, category, confidence, status, admin_approved, "
                "ai_processed, company_name, source, created_at, ai_model_version, ai_reasoning, ai_auto_approved, decided_by_id) "
                "VALUES %s",
                [
                    (
                        row.merchant,
                        key,
                        row.ticker,
                        row.category,
                        row.confidence,
                        LlmMapping.Status.APPROVED,
                        True,
                        True,
                        (row.company or listed[row.ticker])[:200],
                        LlmMapping.Source.BULK,
                        now,
                        "",
                        row.notes,
                        False,
                        uploader,
                    )
                    for row, key in good
                ],
                page_size=2_000,
            )
            record_log_deltas(
                (now, LlmMapping.Status.APPROVED, LlmMapping.Source.BULK, False, row.confidence) for row, _ in good
            )
            keys: dict[tuple[str, str], list[object]] = {}
            for row, key in good:
                known = keys.get((key, row.ticker))
                if known is None:
                    keys[key, row.ticker] = [
                        imported.pk,
                        key,
                        row.ticker,
                        row.merchant,
                        row.category,
                        row.confidence,
                        1,
                    ]
                else:
                    known[6] = cast("int", known[6]) + 1
            execute_values(
                cursor.cursor,
                "INSERT INTO mapping_import_keys (mapping_import_id, merchant_key, ticker, display_name, category, confidence, count) "
                "VALUES %s ON CONFLICT (mapping_import_id, merchant_key, ticker) "
                "DO UPDATE SET count = mapping_import_keys.count + excluded.count",
                [tuple(values) for values in keys.values()],
                page_size=2_000,
            )
        if errors:
            execute_values(
                cursor.cursor,
                "INSERT INTO mapping_import_rejects (mapping_import_id, row_number, field, reason, raw) VALUES %s "
                "ON CONFLICT (mapping_import_id, row_number) DO NOTHING",
                [(imported.pk, e.row_number, e.field[:30], e.reason[:255], e.raw.replace("\0", "")) for e in errors],
            )
        imported.rows_done += len(batch)
        imported.rows_added += len(good)
        imported.rows_rejected += len(errors)
        imported.save(update_fields=["rows_done", "rows_added", "rows_rejected"])


# --- the directory ----------------------------------------------------------------------------------------------------


def _directory_fill(imported: MappingImport, on_progress: Callable[[], None], *, release_later: bool = False) -> int:
    """Merchants of the file into the directory, in sets; what is done is taken off the list with it."""
    refresh_catalogue()
    threshold, limit, released = auto_approval_threshold() or matcher.PREFIX, FOUR_EYES_LIMIT.get(), 0
    while True:
        with transaction.atomic():
            said = list(imported.keys.order_by("merchant_key", "-count", "ticker")[:MERCHANTS])
            if not said:
                return released
            # The last merchant may have more tickers than were taken: all of a merchant or nothing.
            last = said[-1].merchant_key
            said = [row for row in said if row.merchant_key != last] + list(
                imported.keys.filter(merchant_key=last).order_by("-count", "ticker")
            )
            approved = _merchants_fill(imported, said, threshold=threshold, limit=limit)
            MappingImportKey.objects.filter(pk__in=[row.pk for row in said]).delete()
        if approved and release_later:
            with transaction.atomic():
                send_task(
                    task=create_task(
                        name="release_merchants", user=imported.task.user, arguments={"merchant_keys": approved}
                    )
                )
        elif approved:
            released += release_waiting_transactions(merchant_keys=approved)
        on_progress()


def _merchants_fill(
    imported: MappingImport, said: list[MappingImportKey], *, threshold: Decimal, limit: Decimal
) -> list[str]:
    """The merchants of these rows. Returns the keys that are approved now."""
    by_key = {key: list(rows) for key, rows in groupby(said, key=lambda row: row.merchant_key)}
    now, uploader = timezone.now(), imported.task.user
    known = {
        row.merchant_key: row
        for row in Merchant.objects.select_for_update().filter(merchant_key__in=by_key).order_by("merchant_key")
    }
    names = dict(Company.objects.filter(ticker__in={row.ticker for row in said}).values_list("ticker", "name"))
    changed: list[Merchant] = []
    added: list[Merchant] = []
    decisions: list[MappingDecision] = []
    keys: list[str] = []
    for key, rows in by_key.items():
        merchant = known.get(key) or Merchant(merchant_key=key, display_name=rows[0].display_name)
        first = rows[0]
        if merchant.pk and merchant.decided_by_id and merchant.status != Merchant.Status.PROPOSED:
            imported.merchants_kept += merchant.ticker != first.ticker
            continue
        before = merchant_snapshot(merchant)
        doubt = _review_reason(merchant, rows, threshold=threshold, limit=limit)
        merchant.ticker, merchant.company_name = first.ticker, names[first.ticker][:200]
        merchant.category = merchant.category or first.category
        merchant.confidence, merchant.source = first.confidence, Merchant.Source.ADMIN
        merchant.alternatives = [
            {"ticker": other.ticker, "company_name": names[other.ticker], "brand": ""} for other in rows[1:4]
        ]
        if doubt:
            merchant.status, merchant.reason = Merchant.Status.PROPOSED, doubt[:500]
            merchant.decided_by, merchant.decided_at = None, None
            imported.merchants_review += 1
        else:
            merchant.status, merchant.reason = Merchant.Status.APPROVED, f"Uploaded with {imported.filename}."[:500]
            merchant.decided_by, merchant.decided_at = uploader, now
            imported.merchants_approved += 1
            keys.append(key)
            decisions.append(
                MappingDecision(
                    merchant_key=key,
                    action=MappingDecision.Action.APPROVE,
                    before=before,
                    after=merchant_snapshot(merchant),
                    reason=merchant.reason,
                    decided_by=uploader,
                    released_count=merchant.waiting_count,
                    decided_at=now,
                )
            )
        (changed if merchant.pk else added).append(merchant)
    if changed:
        update_merchants(changed, now)
    Merchant.objects.bulk_create(added, batch_size=1_000)
    invalidate_mappings()
    MappingDecision.objects.bulk_create(decisions, batch_size=1_000)
    imported.save(update_fields=["merchants_approved", "merchants_kept", "merchants_review"])
    return keys


def _review_reason(merchant: Merchant, rows: list[MappingImportKey], *, threshold: Decimal, limit: Decimal) -> str:
    """Why a reviewer has to look at it; empty when nobody needs to."""
    first = rows[0]
    if len(rows) > 1:
        return (
            f"The file names several companies: {', '.join(f'{row.ticker} ({row.count} times)' for row in rows[:5])}."
        )
    if first.ticker in (merchant.rejected_tickers or []):
        return f"The file says {first.ticker}, which was rejected for this merchant before."
    if first.confidence < threshold:
        return f"The file says {first.ticker}, and is {first.confidence:.0%} sure of it."
    if limit and merchant.waiting_amount >= limit:
        return f"The file says {first.ticker}; ${merchant.waiting_amount:,} wait, so that two people have to agree."
    found = matcher.propose(first.merchant_key, first.display_name, first.category)
    if found.confidence >= threshold and found.listed is not None and found.ticker != first.ticker:
        return f"The file says {first.ticker}; the catalogue says {found.ticker or 'nobody'}. {found.reason}"
    if found.method == "look-alike":
        return f"The file says {first.ticker}; the name only begins like a brand."
    return ""
