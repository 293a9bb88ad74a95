-- Notify up to %(limit)s active customers after %(after)s, in the order of their ids, unless they have this notice.
WITH customers AS MATERIALIZED (
    SELECT id FROM users WHERE id > %(after)s AND is_active AND NOT is_staff ORDER BY id LIMIT %(limit)s
),
notified AS MATERIALIZED (
    SELECT user_id FROM notifications JOIN customers ON customers.id = notifications.user_id
    WHERE title = %(title)s AND created_at >= %(since)s
),
sent AS (
    INSERT INTO notifications (user_id, title, message, type, read, created_at)
    SELECT id, %(title)s, %(message)s, 'info', false, %(now)s FROM customers
    WHERE id NOT IN (SELECT user_id FROM notified)
    RETURNING user_id
)
SELECT (SELECT max(id) FROM customers), (SELECT coalesce(array_agg(user_id), '{}') FROM sent)
