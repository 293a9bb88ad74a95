-- At the cut-over: open legacy purchases whose merchant was decided meanwhile leave the review, counted in the deltas of
-- the rollups.
WITH released AS (
    UPDATE transactions SET status = 'pending', updated_at = now()
    WHERE source = 'legacy_open' AND status = 'needs_review' AND merchant_key IN
        (SELECT merchant_key FROM merchants WHERE status IN ('approved', 'not_listed'))
    RETURNING date, ticker, amount, round_up, fee, investable
)
INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
SELECT (date AT TIME ZONE 'UTC')::date, side.status, ticker, sum(side.n), sum(side.n * amount),
       sum(side.n * round_up), sum(side.n * fee), sum(side.n * investable), sum(greatest(side.n, 0))
FROM released CROSS JOIN (VALUES (-1, 'needs_review'), (1, 'pending')) AS side (n, status)
GROUP BY 1, 2, 3
