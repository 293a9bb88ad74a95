"""Imports of mapping files: up to a million rows in the background, with bad rows reported.

The import has two phases. First every row goes into the log of proposals, in batches, each with its rejects and
counters in one database transaction. Then the merchants go into the directory. Both phases resume where they stopped
after a crash.

Uploading a file approves its mappings, with exceptions that protect money: earlier decisions of reviewers are kept, and
a merchant goes to the review queue if the catalogue contradicts the file, the ticker was rejected before, the file is
unsure, or two reviewers are required.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from itertools import groupby, islice
from typing import BinaryIO, cast
from uuid import UUID

from django.conf import settings
from django.core.files.base import File
from django.db import connection, transaction
from django.utils import timezone
from psycopg2.extras import execute_values

from kamioi_site.formatting import percent
from kamioi_site.imports.rows import RowError
from llm_center.cache import invalidate_mappings
from llm_center.live_settings import FOUR_EYES_LIMIT
from llm_center.mapping_file import MappingFileError, MappingRow, read_mappings
from llm_center.matcher import PREFIX, Proposal
from llm_center.models import LlmMapping, MappingDecision, MappingImport, MappingImportKey
from llm_center.providers import MerchantQuestion
from llm_center.services.mapping_log import LogRow, insert_log_rows
from llm_center.services.matching import propose_owners
from llm_center.services.merchants import merchant_snapshot, record_decisions, update_merchants
from llm_center.services.proposal_queue import auto_approval_threshold
from llm_center.services.review.decisions import find_own_waiting, needs_two_reviewers
from transactions.models import Company, Merchant, User
from transactions.rules.merchant_key import normalise
from transactions.services.background_tasks import create_task, heartbeat, run_task, send_task
from transactions.services.processing import release_waiting_transactions

# Rows, and merchants, in one database transaction.
BATCH = 10_000
MERCHANTS = 2_000

_INSERT_KEYS = """
    INSERT INTO mapping_import_keys (mapping_import_id, merchant_key, ticker, display_name, category, confidence, count)
    VALUES %s ON CONFLICT (mapping_import_id, merchant_key, ticker)
    DO UPDATE SET count = mapping_import_keys.count + excluded.count
"""


def upload_mapping_file(
    *, filename: str, content: "File[bytes]", actor: User, note: str = "", send: bool = True
) -> MappingImport:
    """Store the file and schedule its import. Raises MappingFileError: too large, or imported before."""
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
    """Run the import as its background task; None if another worker runs it or it is done.

    Args:
        release_later: release the waiting transactions in a separate task, for a caller that needs a quick response.
    """
    with run_task(task_id=task_id) as task:
        if task is None:
            return None
        imported = MappingImport.objects.get(task=task)

        def report_progress() -> None:
            heartbeat(task=task, progress=imported.rows_done)
            if on_progress:
                on_progress(imported.rows_done)

        with imported.file.open("rb") as file:
            rows = islice(read_mappings(cast("BinaryIO", file)), imported.rows_done, None)
            while batch := list(islice(rows, BATCH)):
                _store_batch(imported, batch)
                report_progress()
        released = _update_directory(imported, report_progress, release_later=release_later)
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
        if imported.rejects_omitted:
            task.result["rejects_omitted"] = imported.rejects_omitted
    return MappingImport.objects.get(pk=imported.pk)


def _store_batch(imported: MappingImport, batch: list[MappingRow | RowError]) -> None:
    """Write a batch to the log, its rejects, and what it contributes to each merchant."""
    rows = [item for item in batch if isinstance(item, MappingRow)]
    errors = [item for item in batch if isinstance(item, RowError)]
    tickers = {row.ticker for row in rows}
    listed = dict(Company.objects.filter(ticker__in=tickers, is_listed=True).values_list("ticker", "name"))
    log: list[LogRow] = []
    first: dict[tuple[str, str], MappingRow] = {}
    counts: Counter[tuple[str, str]] = Counter()
    now = timezone.now()
    for row in rows:
        key = normalise(row.merchant)
        if row.ticker not in listed:
            errors.append(RowError(row.row_number, "ticker", f"{row.ticker} is not a listed company", row.raw))
            continue
        if not key:
            errors.append(RowError(row.row_number, "merchant", "contains no merchant", row.raw))
            continue
        first.setdefault((key, row.ticker), row)
        counts[key, row.ticker] += 1
        log.append(
            LogRow(
                merchant_name=row.merchant,
                merchant_key=key,
                ticker=row.ticker,
                category=row.category,
                confidence=row.confidence,
                status=LlmMapping.Status.APPROVED,
                company_name=(row.company or listed[row.ticker])[:200],
                source=LlmMapping.Source.BULK,
                created_at=now,
                admin_approved=True,
                ai_reasoning=row.notes,
                decided_by_id=imported.task.user_id,
            )
        )
    keys = [
        (imported.pk, key, ticker, row.merchant, row.category, row.confidence, counts[key, ticker])
        for (key, ticker), row in first.items()
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        imported.lock_for_batch()
        if log:
            insert_log_rows(log)
            execute_values(cursor.cursor, _INSERT_KEYS, keys, page_size=2_000)
        imported.record_batch(rows=len(batch), added=len(log), errors=errors)


def _update_directory(imported: MappingImport, on_progress: Callable[[], None], *, release_later: bool) -> int:
    """Move the file's merchants into the directory, in batches; return the number of transactions released."""
    threshold, limit, released = auto_approval_threshold() or PREFIX, FOUR_EYES_LIMIT.get(), 0
    while True:
        with transaction.atomic():
            rows = list(imported.keys.order_by("merchant_key", "-count", "ticker")[:MERCHANTS])
            if not rows:
                return released
            # The last merchant may be incomplete: take all of its tickers.
            last = rows[-1].merchant_key
            rows = [row for row in rows if row.merchant_key != last]
            rows += imported.keys.filter(merchant_key=last).order_by("-count", "ticker")
            approved = _update_merchants(imported, rows, threshold=threshold, limit=limit)
            MappingImportKey.objects.filter(pk__in=[row.pk for row in rows]).delete()
        if approved and release_later:
            with transaction.atomic():
                task = create_task(
                    name="release_merchants", user=imported.task.user, arguments={"merchant_keys": approved}
                )
                send_task(task=task)
        elif approved:
            released += release_waiting_transactions(merchant_keys=approved)
        on_progress()


def _update_merchants(
    imported: MappingImport, rows: list[MappingImportKey], *, threshold: Decimal, limit: Decimal
) -> list[str]:
    """Write the merchants of these rows; return the keys of those approved."""
    by_key = {key: list(group) for key, group in groupby(rows, key=lambda row: row.merchant_key)}
    now, uploader = timezone.now(), imported.task.user
    known = {
        row.merchant_key: row
        for row in Merchant.objects.select_for_update().filter(merchant_key__in=by_key).order_by("merchant_key")
    }
    names = dict(Company.objects.filter(ticker__in={row.ticker for row in rows}).values_list("ticker", "name"))
    questions = [MerchantQuestion(key, (group[0].display_name,), group[0].category) for key, group in by_key.items()]
    own = find_own_waiting(uploader, list(by_key)) if uploader else set()
    changed: list[Merchant] = []
    added: list[Merchant] = []
    decided: list[tuple[Merchant, MappingDecision]] = []
    for (key, group), proposal in zip(by_key.items(), propose_owners(questions).proposals, strict=True):
        first = group[0]
        merchant = known.get(key) or Merchant(merchant_key=key, display_name=first.display_name)
        if merchant.pk and merchant.decided_by_id and merchant.status != Merchant.Status.PROPOSED:
            imported.merchants_kept += merchant.ticker != first.ticker
            continue
        before = merchant_snapshot(merchant)
        reason = _review_reason(merchant, group, proposal, threshold=threshold, limit=limit, is_own=key in own)
        merchant.ticker, merchant.company_name = first.ticker, names[first.ticker][:200]
        merchant.category = merchant.category or first.category
        merchant.confidence, merchant.source = first.confidence, Merchant.Source.ADMIN
        merchant.decision_id = None
        merchant.alternatives = [
            {"ticker": other.ticker, "company_name": names[other.ticker], "brand": ""} for other in group[1:4]
        ]
        (changed if merchant.pk else added).append(merchant)
        if reason:
            merchant.status, merchant.reason = Merchant.Status.PROPOSED, reason[:500]
            merchant.decided_by, merchant.decided_at = None, None
            imported.merchants_review += 1
            continue
        merchant.status, merchant.reason = Merchant.Status.APPROVED, f"Uploaded in {imported.filename}."[:500]
        merchant.decided_by, merchant.decided_at = uploader, now
        decision = MappingDecision(
            merchant_key=key,
            action=MappingDecision.Action.APPROVE,
            before=before,
            after=merchant_snapshot(merchant),
            reason=merchant.reason,
            decided_by=uploader,
            released_count=merchant.waiting_count,
            decided_at=now,
        )
        decided.append((merchant, decision))
    record_decisions(decided)
    if changed:
        update_merchants(changed, now)
    Merchant.objects.bulk_create(added, batch_size=1_000)
    invalidate_mappings()
    imported.merchants_approved += len(decided)
    imported.save(update_fields=["merchants_approved", "merchants_kept", "merchants_review"])
    return [merchant.merchant_key for merchant, _ in decided]


def _review_reason(
    merchant: Merchant,
    rows: list[MappingImportKey],
    proposal: Proposal,
    *,
    threshold: Decimal,
    limit: Decimal,
    is_own: bool,
) -> str:
    """Return why a reviewer must decide the merchant; empty if the file is sufficient."""
    first = rows[0]
    if len(rows) > 1:
        tickers = ", ".join(f"{row.ticker} ({row.count} times)" for row in rows[:5])
        return f"The file names several companies: {tickers}."
    if first.ticker in (merchant.rejected_tickers or []):
        return f"The file has {first.ticker}, which was rejected for this merchant before."
    if first.confidence < threshold:
        return f"The file has {first.ticker} with a confidence of only {percent(first.confidence)}."
    if is_own:
        return f"The file has {first.ticker}; purchases of its uploader wait for the decision."
    if needs_two_reviewers(merchant, first.ticker, limit=limit):
        return f"The file has {first.ticker}; two reviewers must agree on an amount this large."
    knows = proposal.listed is not None and proposal.method != "local"
    if knows and proposal.proven >= threshold and proposal.ticker != first.ticker:
        catalogue = proposal.ticker or "no listed company"
        return f"The file has {first.ticker}; the catalogue has {catalogue}. {proposal.reason}"
    if proposal.method == "look-alike":
        return f"The file has {first.ticker}; the name only starts like a brand."
    return ""
