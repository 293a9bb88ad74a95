-- Notify up to %(limit)s active customers after %(after)s, in the order of their ids, unless they have this notice.
WITH customers AS MATERIALIZED (
    SELECT id FROM users WHERE id > %(after)s AND is_active AND NOT is_staff ORDER BY id LIMIT %(limit)s
),
sent AS (
    INSERT INTO notifications (user_id, title, message, type, read, created_at)
    SELECT id, %(title)s, %(message)s, 'info', false, %(now)s FROM customers
    WHERE NOT EXISTS (
        SELECT FROM notifications
        WHERE user_id = customers.id AND title = %(title)s AND created_at >= %(since)s
    )
    RETURNING user_id
)
SELECT (SELECT max(id) FROM customers), (SELECT coalesce(array_agg(user_id), '{}') FROM sent)
