-- A customer's shares at the end of a month with the last price before it, from the ledger.
SELECT owned.ticker, coalesce(nullif(companies.name, ''), owned.ticker), owned.shares, owned.cost, quote.price
FROM (
    SELECT ticker, sum(CASE WHEN starts_with(kind, 'undo_') THEN -shares ELSE shares END) AS shares,
           sum(CASE WHEN starts_with(kind, 'undo_') THEN -amount ELSE amount END) AS cost
    FROM ledger_transfers
    WHERE user_id = %(user)s AND date < %(end)s AND shares IS NOT NULL GROUP BY ticker
) AS owned
LEFT JOIN companies ON companies.ticker = owned.ticker
LEFT JOIN LATERAL (
    SELECT price FROM stock_prices
    WHERE stock_prices.ticker = owned.ticker AND as_of < %(end)s ORDER BY as_of DESC LIMIT 1
) AS quote ON true
WHERE owned.shares <> 0 ORDER BY owned.ticker
