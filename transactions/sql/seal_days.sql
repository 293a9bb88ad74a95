-- Return what the seals of the days from %(start)s to before %(end)s contain, for days with ledger rows: (day, rows, sums by
-- account, weighted shares and cost, digest). The rows are hashed in the order of their ids, in one pass over the ledger.
-- Times are hashed as seconds, because their text depends on settings of the session.
WITH hashed AS (
    SELECT greatest((created_at AT TIME ZONE 'UTC')::date, '0001-01-01') AS day, debit_account, credit_account, id, amount, shares,
           sha256(convert_to(ROW(
               id, user_id, extract(epoch FROM date), transaction_id, kind, debit_account, credit_account, amount,
               ticker, shares, reference, extract(epoch FROM created_at)
           )::text, 'UTF8')) AS digest,
           CASE WHEN shares IS NOT NULL THEN
               {include position_weight}
               * CASE WHEN credit_account = '22100' OR debit_account = '12100' THEN 1 ELSE -1 END
           END AS weight
    FROM ledger_transfers
    WHERE created_at >= %(start)s AND created_at < %(end)s
),
-- In parts, because one value of PostgreSQL holds at most 1 GB.
part AS MATERIALIZED (
    SELECT day, id / 10000000 AS number, debit_account, credit_account, count(*) AS rows, sum(amount) AS amount,
           sum(shares * weight) AS holdings, sum(amount * weight) AS cost, sha256(string_agg(digest, '' ORDER BY id)) AS digest
    FROM hashed GROUP BY 1, 2, 3, 4
),
moved AS (
    SELECT day, jsonb_object_agg(account, amount::text) AS sums
    FROM (
        SELECT day, side.account, sum(side.amount) AS amount FROM part
        CROSS JOIN LATERAL (VALUES (debit_account, amount), (credit_account, -amount)) AS side (account, amount)
        GROUP BY day, side.account
    ) AS movement
    GROUP BY day
)
SELECT day, sum(part.rows)::bigint, moved.sums::text, coalesce(sum(holdings), 0), coalesce(sum(cost), 0),
       encode(sha256(string_agg(
           digest, '' ORDER BY number, debit_account COLLATE "C", credit_account COLLATE "C"
       )), 'hex')
FROM part JOIN moved USING (day)
GROUP BY day, moved.sums::text
ORDER BY day
