-- Transactions whose order is due become pending again; the order stays queued until it is booked.
UPDATE transactions SET status = 'pending', priority = 3, updated_at = %(now)s
FROM (
    SELECT orders.user_id, orders.transaction_id, orders.transaction_date
    FROM orders
    JOIN transactions AS mapped ON mapped.id = orders.transaction_id AND mapped.user_id = orders.user_id
        AND mapped.date = orders.transaction_date AND mapped.status = 'mapped'
    WHERE orders.status = 'queued' AND orders.execute_after <= %(now)s
    LIMIT %(most)s
) AS due
WHERE transactions.id = due.transaction_id AND transactions.user_id = due.user_id
  AND transactions.date = due.transaction_date AND transactions.status = 'mapped'
