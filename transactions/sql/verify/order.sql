-- Executed orders have a completed transaction.
SELECT 'order', orders.user_id, 'order ' || orders.id, 'executed',
       'transaction ' || orders.transaction_id || ' completed'
FROM orders LEFT JOIN transactions AS bought
  ON bought.id = orders.transaction_id AND bought.user_id = orders.user_id AND bought.date = orders.transaction_date
WHERE orders.status = 'executed' AND orders.transaction_date >= %(purchases)s AND bought.status IS DISTINCT FROM 'completed'
