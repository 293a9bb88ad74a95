-- Undo the effect of a decision in locked user buckets: bookings get contra entries, and the transactions become
-- pending, to be looked up in the current directory.
WITH led_to AS MATERIALIZED (
    SELECT user_id, transaction_id AS id, date FROM released_transactions
    WHERE decision_id = %(decision)s AND mod(user_id, 64) = ANY (%(buckets)s::int[])
    UNION
    -- Purchases that arrived after the decision never waited.
    SELECT user_id, id, date FROM transactions
    WHERE created_at >= %(since)s AND merchant_key = %(merchant_key)s AND mod(user_id, 64) = ANY (%(buckets)s::int[])
),
wrong AS MATERIALIZED (
    SELECT transactions.id, transactions.user_id, transactions.date, transactions.ticker, transactions.merchant,
           transactions.booking, transactions.status = 'completed' AND transactions.investable > 0 AS booked,
           transactions.status, transactions.amount, transactions.round_up, transactions.fee, transactions.investable
    FROM transactions
    JOIN led_to ON led_to.id = transactions.id AND led_to.user_id = transactions.user_id
      AND led_to.date = transactions.date
    WHERE transactions.status IN ('completed', 'not_listed', 'mapped', 'awaiting_price')
      AND transactions.ticker IS NOT DISTINCT FROM %(ticker)s
    LIMIT %(limit)s
),
contra AS (
    INSERT INTO ledger_transfers
        (user_id, date, transaction_id, kind, debit_account, credit_account, amount, ticker, shares, reference,
         created_at)
    SELECT booking.user_id, booking.date, booking.transaction_id, 'undo_' || booking.kind, booking.credit_account,
           booking.debit_account, booking.amount, booking.ticker, booking.shares, %(reference)s, %(now)s
    FROM wrong
    JOIN ledger_transfers AS booking
      ON booking.user_id = wrong.user_id AND booking.transaction_id = wrong.id AND booking.date = wrong.date
     AND booking.kind = ANY (ARRAY['round_up', 'fee', 'purchase', 'rounding', 'round_up_' || wrong.booking + 1,
                                   'fee_' || wrong.booking + 1, 'purchase_' || wrong.booking + 1,
                                   'rounding_' || wrong.booking + 1])
     AND (booking.kind LIKE '%%\_' || wrong.booking + 1) = (wrong.booking > 0)
    WHERE wrong.booked
    RETURNING user_id, kind, ticker, shares, amount
),
holding_updates AS (
    UPDATE holdings SET shares = holdings.shares - back.shares, cost_basis = holdings.cost_basis - back.cost,
                        updated_at = %(now)s
    FROM (
        SELECT user_id, ticker, sum(shares) AS shares, sum(amount) AS cost
        FROM contra WHERE shares IS NOT NULL GROUP BY user_id, ticker
    ) AS back
    WHERE holdings.user_id = back.user_id AND holdings.ticker = back.ticker
),
cancelled AS (
    UPDATE orders SET status = 'cancelled' FROM wrong
    WHERE orders.user_id = wrong.user_id AND orders.transaction_id = wrong.id
      AND orders.status IN ('queued', 'executed')
),
notified AS (
    INSERT INTO notifications (user_id, title, message, type, read, created_at)
    SELECT user_id, 'Your purchase of ' || ticker || ' was reversed',
           merchant || ' was matched to the wrong company. Your round-up is set aside until the match is corrected.',
           'info', false, %(now)s
    FROM wrong WHERE booked
),
moved AS (
    UPDATE transactions SET status = 'pending', priority = 3, booking = transactions.booking + wrong.booked::int,
        ticker = NULL, shares = NULL, price_per_share = NULL, round_up = 0, investable = 0, fee = 0,
        total_debit = transactions.amount, updated_at = %(now)s
    FROM wrong
    WHERE transactions.id = wrong.id AND transactions.user_id = wrong.user_id AND transactions.date = wrong.date
      AND transactions.status = wrong.status
    RETURNING wrong.*
),
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, side.status, side.ticker, sum(side.n), sum(side.n * amount),
           sum(side.n * side.round_up), sum(side.n * side.fee), sum(side.n * side.investable), sum(greatest(side.n, 0))
    FROM moved
    CROSS JOIN LATERAL (VALUES
        (-1, moved.status, moved.ticker, moved.round_up, moved.fee, moved.investable),
        (1, 'pending', NULL, 0, 0, 0)
    ) AS side (n, status, ticker, round_up, fee, investable)
    GROUP BY 1, 2, 3
)
SELECT count(*), count(*) FILTER (WHERE booked), coalesce(array_agg(DISTINCT user_id), '{}') FROM moved
