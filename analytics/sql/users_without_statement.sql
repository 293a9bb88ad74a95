-- Active customers of a month, in a range of ids, whose statement of the month does not exist yet.
SELECT user_id FROM customer_months
WHERE month = %(month)s AND rows > 0 AND user_id BETWEEN %(first)s AND %(last)s
  AND NOT EXISTS (
      SELECT FROM reports WHERE reports.user_id = customer_months.user_id AND kind = 'statement'
         AND reports.period = %(month)s AND format = 'csv'
  )
  AND EXISTS (SELECT FROM users WHERE users.id = customer_months.user_id AND erased_at IS NULL)
ORDER BY user_id
