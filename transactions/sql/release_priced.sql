-- Transactions that waited for a price that is there now, or whose merchant has another ticker now, become pending again.
UPDATE transactions SET status = 'pending', priority = 3, updated_at = %(now)s
FROM (
    SELECT transactions.id, transactions.user_id, transactions.date FROM transactions
    LEFT JOIN merchants ON merchants.merchant_key = transactions.merchant_key
    WHERE transactions.status = 'awaiting_price'
      AND (merchants.ticker IS DISTINCT FROM transactions.ticker OR merchants.status <> 'approved'
           OR transactions.ticker = ANY (%(priced)s::text[]))
    LIMIT %(most)s
) AS waiting
WHERE transactions.id = waiting.id AND transactions.user_id = waiting.user_id AND transactions.date = waiting.date
  AND transactions.status = 'awaiting_price'
