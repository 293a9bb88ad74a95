-- booked: what the postings of each purchase add up to.
WITH posted AS MATERIALIZED (
    SELECT user_id, transaction_id, kind, amount, ticker, shares FROM ledger_transfers
    WHERE transaction_id IS NOT NULL AND created_at >= %(since)s
),
-- Purchases booked more than once, of which earlier postings may be sealed: few.
repeated AS MATERIALIZED (
    SELECT DISTINCT user_id, transaction_id FROM posted WHERE kind NOT IN ('round_up', 'fee', 'purchase')
),
postings AS (
    SELECT * FROM posted
    UNION ALL
    SELECT earlier.user_id, earlier.transaction_id, earlier.kind, earlier.amount, earlier.ticker, earlier.shares
    FROM repeated CROSS JOIN LATERAL (
        SELECT * FROM ledger_transfers AS transfers
        WHERE transfers.user_id = repeated.user_id AND transfers.transaction_id = repeated.transaction_id
          AND transfers.created_at < %(since)s
    ) AS earlier
),
undone AS MATERIALIZED (
    SELECT user_id, transaction_id, substr(kind, 6) AS kind, amount, ticker, shares
    FROM postings WHERE starts_with(kind, 'undo_')
),
booked AS (
    SELECT transaction_id, user_id,
           coalesce(sum(signed) FILTER (WHERE base = 'round_up'), 0) AS round_up,
           coalesce(sum(signed) FILTER (WHERE base = 'fee'), 0) AS fee,
           coalesce(sum(signed) FILTER (WHERE base = 'purchase'), 0) AS invested,
           coalesce(sum(sign(signed) * shares), 0) AS shares,
           bool_or(is_first) AS has_first,
           max(ticker) FILTER (WHERE NOT is_undone) AS ticker
    FROM (
        -- base: the kind without the booking number.
        SELECT transaction_id, user_id, rtrim(kind, '_23456789') AS base, amount AS signed, shares, ticker,
               kind = 'round_up' AS is_first,
               EXISTS (
                   SELECT FROM undone WHERE undone.user_id = postings.user_id
                   AND undone.transaction_id = postings.transaction_id AND undone.kind = postings.kind
               ) AS is_undone
        FROM postings WHERE NOT starts_with(kind, 'undo_')
        UNION ALL
        SELECT transaction_id, user_id, rtrim(kind, '_23456789'), -amount, shares, ticker, false, true FROM undone
    ) AS bookings
    GROUP BY transaction_id, user_id
)
