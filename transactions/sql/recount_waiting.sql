-- What waits for merchants whose rows this transaction has locked, counted from the transactions themselves.
UPDATE merchants SET waiting_count = counted.count, waiting_amount = counted.amount
FROM (
    SELECT merchants.id, count(waiting.round_up) AS count, coalesce(sum(waiting.round_up), 0) AS amount
    FROM merchants
    LEFT JOIN transactions AS waiting ON waiting.merchant_key = merchants.merchant_key AND waiting.status = 'needs_review'
    WHERE merchants.merchant_key = ANY (%(merchant_keys)s::text[])
    GROUP BY merchants.id
) AS counted
WHERE merchants.id = counted.id
