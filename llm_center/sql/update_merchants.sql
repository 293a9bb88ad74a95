-- Update the proposal and decision of many merchants; the waiting amounts are left alone, because processing changes them.
UPDATE merchants SET
    ticker = new.ticker, company_name = new.company_name, category = new.category, confidence = new.confidence::numeric,
    stated_confidence = new.stated_confidence::numeric, reason = new.reason, source = new.source, status = new.status,
    alternatives = new.alternatives, rejected_tickers = new.rejected_tickers, decided_by_id = new.decided_by_id,
    decided_at = new.decided_at, decision_id = new.decision_id, updated_at = new.updated_at
FROM (VALUES %s) AS new (
    id, ticker, company_name, category, confidence, stated_confidence, reason, source, status, alternatives,
    rejected_tickers, decided_by_id, decided_at, decision_id, updated_at
)
WHERE merchants.id = new.id
