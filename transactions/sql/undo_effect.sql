-- The effect of a decision so far: transactions settled, and of these the ones bought, with customers and dollars.
WITH led_to AS (
    SELECT user_id, transaction_id AS id, date FROM released_transactions WHERE decision_id = %(decision)s
    UNION
    SELECT user_id, id, date FROM transactions WHERE created_at >= %(since)s AND merchant_key = %(merchant_key)s
)
SELECT count(*), count(*) FILTER (WHERE bought), count(DISTINCT user_id) FILTER (WHERE bought),
       coalesce(sum(investable) FILTER (WHERE bought), 0), coalesce(sum(fee) FILTER (WHERE bought), 0)
FROM (
    SELECT transactions.user_id, investable, fee, status = 'completed' AND investable > 0 AS bought
    FROM transactions
    JOIN led_to ON led_to.id = transactions.id AND led_to.user_id = transactions.user_id
        AND led_to.date = transactions.date
    WHERE transactions.status IN ('completed', 'not_listed', 'mapped', 'awaiting_price')
      AND transactions.ticker IS NOT DISTINCT FROM %(ticker)s
) AS settled
