-- Notify customers of purchases held by a limit, unless they have had this notice today.
WITH informed AS MATERIALIZED (
    SELECT user_id FROM notifications
    WHERE user_id = ANY (%(users)s::bigint[]) AND title = %(title)s
      AND created_at >= date_trunc('day', %(now)s::timestamptz, 'UTC')
)
INSERT INTO notifications (user_id, title, message, type, read, created_at)
SELECT user_id, %(title)s, %(message)s, 'info', false, %(now)s
FROM unnest(%(users)s::bigint[]) AS held (user_id)
WHERE user_id NOT IN (SELECT user_id FROM informed)
