-- Grouped by customer throughout, so that each shard compares its own rows: what it compares is of one moment, and only
-- disagreements leave it. entry: the posting that a row makes or takes back; without the booking number it is the base.
WITH postings AS (
    SELECT user_id, transaction_id, kind, amount, ticker, shares FROM ledger_transfers
    WHERE transaction_id IS NOT NULL AND created_at >= %(since)s
    UNION ALL
    -- Purchases booked more than once, of which earlier postings may be sealed: few.
    SELECT earlier.user_id, earlier.transaction_id, earlier.kind, earlier.amount, earlier.ticker, earlier.shares
    FROM (
        SELECT DISTINCT user_id, transaction_id FROM ledger_transfers
        WHERE transaction_id IS NOT NULL AND created_at >= %(since)s AND kind NOT IN ('round_up', 'fee', 'purchase')
    ) AS repeated
    JOIN ledger_transfers AS earlier
      ON earlier.user_id = repeated.user_id AND earlier.transaction_id = repeated.transaction_id
    WHERE earlier.created_at < %(since)s
),
entries AS (
    SELECT user_id, transaction_id, entry, rtrim(entry, '_23456789') AS base, sum(sign * amount) AS amount,
           sum(sign * shares) AS shares, bool_or(sign = 1 AND entry = 'round_up') AS is_first,
           CASE WHEN bool_and(sign = 1) THEN max(ticker) END AS ticker
    FROM (
        SELECT user_id, transaction_id, CASE WHEN starts_with(kind, 'undo_') THEN substr(kind, 6) ELSE kind END AS entry,
               CASE WHEN starts_with(kind, 'undo_') THEN -1 ELSE 1 END AS sign, amount, ticker, shares
        FROM postings
    ) AS signed
    GROUP BY user_id, transaction_id, entry
),
booked AS (
    SELECT transaction_id, user_id,
           coalesce(sum(amount) FILTER (WHERE base = 'round_up'), 0) AS round_up,
           coalesce(sum(amount) FILTER (WHERE base = 'fee'), 0) AS fee,
           coalesce(sum(amount) FILTER (WHERE base = 'purchase'), 0) AS invested,
           coalesce(sum(shares), 0) AS shares, bool_or(is_first) AS has_first, max(ticker) AS ticker
    FROM entries GROUP BY transaction_id, user_id
)
