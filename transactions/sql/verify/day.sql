-- Customers' postings carry the day on which they were booked, and none is of the future, which is never sealed.
-- Sealed rows may be from before the first seal, and carry the day of the purchase.
SELECT 'day', user_id, 'transfer ' || id, to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
FROM ledger_transfers
WHERE (created_at >= %(unsealed)s AND user_id > 0 AND kind <> 'opening' AND date <> date_trunc('day', created_at, 'UTC'))
   OR created_at > now() + interval '1 day'
