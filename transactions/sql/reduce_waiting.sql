-- Reduce the waiting counts of merchants by the transactions that are gone: a list of {merchant_key, rows, amount}.
-- Locked in the order of their keys, as by the other writers.
WITH gone AS (
    SELECT * FROM json_to_recordset(%(waiting)s::json) AS gone (merchant_key text, rows bigint, amount numeric)
),
locked AS MATERIALIZED (
    SELECT merchant_key FROM merchants WHERE merchant_key = ANY (ARRAY(SELECT merchant_key FROM gone))
    ORDER BY merchant_key FOR UPDATE
)
UPDATE merchants SET waiting_count = greatest(0, merchants.waiting_count - gone.rows),
                     waiting_amount = greatest(0, merchants.waiting_amount - gone.amount)
FROM gone JOIN locked ON locked.merchant_key = gone.merchant_key
WHERE merchants.merchant_key = gone.merchant_key
