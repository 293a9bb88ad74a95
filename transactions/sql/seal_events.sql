-- Return what the seals of the days from %(start)s to before %(end)s contain of the audit trail, for days with events:
-- (day, events, highest id, digest).
SELECT greatest((at AT TIME ZONE 'UTC')::date, '0001-01-01') AS day, count(*), max(id),
       encode(sha256(string_agg(sha256(
           convert_to(ROW(id, user_id, kind, action, target, status, host(address), request_id)::text, 'UTF8')
           || timestamptz_send(at)
       ), '' ORDER BY id)), 'hex')
FROM audit_events
WHERE at >= %(start)s AND at < %(end)s
GROUP BY 1 ORDER BY 1
