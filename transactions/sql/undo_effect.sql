-- The effect of a decision so far: transactions settled, and of these the ones bought, with customers and dollars.
SELECT count(*), count(*) FILTER (WHERE bought), count(DISTINCT user_id) FILTER (WHERE bought),
       coalesce(sum(investable) FILTER (WHERE bought), 0), coalesce(sum(fee) FILTER (WHERE bought), 0)
FROM (
    SELECT user_id, investable, fee, status = 'completed' AND investable > 0 AS bought
    FROM transactions
    WHERE merchant_key = %(merchant_key)s AND decision_id = %(decision)s
      AND status IN ('completed', 'mapped', 'awaiting_price', 'not_listed')
) AS settled
