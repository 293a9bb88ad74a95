-- Return what the seals of the days from %(start)s to before %(end)s contain of the rows dated from %(dated_from)s on, for days
-- with such rows: (day, rows, sums by account, weighted shares and cost, digest). The rows are hashed in the order of their
-- ids. Nothing that is hashed depends on settings of the session, so times are hashed in binary form.
WITH hashed AS (
    SELECT greatest((created_at AT TIME ZONE 'UTC')::date, '0001-01-01') AS day, id,
           sha256(convert_to(ROW(
               id, user_id, transaction_id, kind, debit_account, credit_account, amount, ticker, shares, reference
           )::text, 'UTF8') || timestamptz_send(date) || timestamptz_send(created_at)) AS digest
    FROM ledger_transfers
    WHERE created_at >= %(start)s AND created_at < %(end)s AND date >= %(dated_from)s
),
digests AS (
    SELECT day, sum(rows)::bigint AS rows, encode(sha256(string_agg(digest, '' ORDER BY part)), 'hex') AS digest
    FROM (  -- in parts, because a value holds at most 1 GB
        SELECT day, id / 100000 AS part, count(*) AS rows, sha256(string_agg(digest, '' ORDER BY id)) AS digest
        FROM hashed GROUP BY 1, 2
    ) AS parts
    GROUP BY day
),
-- A second pass, which PostgreSQL runs in parallel.
movements AS MATERIALIZED (
    SELECT greatest((created_at AT TIME ZONE 'UTC')::date, '0001-01-01') AS day, debit_account, credit_account,
           sum(amount) AS amount, sum(shares * weight) AS holdings,
           sum(amount * weight) FILTER (WHERE shares IS NOT NULL) AS cost
    FROM ledger_transfers
    CROSS JOIN LATERAL (
        SELECT {include position_weight}
               * {include position_direction} AS weight
    ) AS weighted
    WHERE created_at >= %(start)s AND created_at < %(end)s AND date >= %(dated_from)s
    GROUP BY 1, 2, 3
)
SELECT day, rows, sums.by_account::text, positions.holdings, positions.cost, digest
FROM digests
JOIN (
    SELECT day, jsonb_object_agg(account, amount::text) AS by_account
    FROM (
        SELECT day, side.account, sum(side.amount) AS amount FROM movements
        CROSS JOIN LATERAL (VALUES (debit_account, amount), (credit_account, -amount)) AS side (account, amount)
        GROUP BY day, side.account
    ) AS accounts
    GROUP BY day
) AS sums USING (day)
JOIN (
    SELECT day, coalesce(sum(holdings), 0) AS holdings, coalesce(sum(cost), 0) AS cost FROM movements GROUP BY day
) AS positions USING (day)
ORDER BY day
