-- The number and the round-ups of a merchant's purchases since a day, of at most %(limit)s of them.
SELECT count(*), coalesce(sum(round_up), 0)
FROM (
    SELECT round_up FROM transactions
    WHERE merchant_key = %(merchant_key)s AND date >= %(since)s
      AND status IN ('completed', 'mapped', 'awaiting_price', 'not_listed')
    LIMIT %(limit)s
) AS recent
