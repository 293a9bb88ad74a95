-- Contra entries of the booked rows of `reversed`, taken from the holdings and the balances owed.
contra AS (
    INSERT INTO ledger_transfers
        (user_id, date, transaction_id, kind, debit_account, credit_account, amount, ticker, shares, reference,
         created_at)
    SELECT reversed.user_id, date_trunc('day', %(now)s::timestamptz, 'UTC'), reversed.id,
           'undo_' || entry.kind || CASE reversed.booking WHEN 0 THEN '' ELSE '_' || reversed.booking + 1 END,
           entry.debit, entry.credit, entry.amount, entry.ticker, entry.shares, %(reference)s, %(now)s
    FROM reversed
    CROSS JOIN LATERAL (VALUES
        ('round_up', '20100', '11100', reversed.round_up, NULL::text, NULL::numeric),
        ('fee', '40100', '11100', reversed.fee, NULL, NULL),
        ('purchase', '22100', '20100', reversed.investable, reversed.ticker, reversed.shares)
    ) AS entry (kind, debit, credit, amount, ticker, shares)
    WHERE reversed.booked AND entry.amount > 0
),
holding_updates AS (
    UPDATE holdings SET shares = holdings.shares - back.shares, cost_basis = holdings.cost_basis - back.cost,
                        updated_at = %(now)s
    FROM (
        SELECT user_id, ticker, sum(shares) AS shares, sum(investable) AS cost
        FROM reversed WHERE booked GROUP BY user_id, ticker
    ) AS back
    WHERE holdings.user_id = back.user_id AND holdings.ticker = back.ticker
),
charged AS (
    SELECT user_id, -sum(round_up + fee) AS amount FROM reversed WHERE booked GROUP BY user_id
),
{include update_receivables}
