-- Fill one order for each ticker: cash to the broker and back, the orders, the differences to what customers paid, and
-- the positions. shares and costs: as in find_unsettled.sql. An order is at least a cent. Returns (orders, dollars of the
-- buys, dollars of the sells, execution difference).
WITH orders AS MATERIALIZED (
    SELECT *, cost - sign(shares) * amount AS difference
    FROM (
        SELECT *, CASE WHEN shares = 0 THEN 0 ELSE greatest(round(abs(shares) * price, 2), 0.01) END AS amount
        FROM unnest(%(tickers)s::text[], %(shares)s::numeric[], %(costs)s::numeric[], %(prices)s::numeric[])
            AS requested (ticker, shares, cost, price)
    ) AS priced
),
totals AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE shares <> 0) AS orders, coalesce(sum(amount) FILTER (WHERE shares > 0), 0) AS buys,
           coalesce(sum(amount) FILTER (WHERE shares < 0), 0) AS sells, sum(difference) AS difference
    FROM orders
),
filled AS (
    INSERT INTO broker_orders (ticker, side, shares, price, amount, filled_at)
    SELECT ticker, CASE WHEN shares > 0 THEN 'buy' ELSE 'sell' END, abs(shares), price, amount, %(now)s
    FROM orders WHERE shares <> 0
),
booked AS (
    INSERT INTO ledger_transfers
        (user_id, date, kind, debit_account, credit_account, amount, ticker, shares, reference, created_at)
    SELECT 0, date_trunc('day', %(now)s::timestamptz, 'UTC'), kind, debit, credit, amount, ticker, shares,
           'settlement', %(now)s
    FROM (
        SELECT 'broker_cash' AS kind, '10200' AS debit, '10100' AS credit, buys AS amount, NULL::text AS ticker,
               NULL::numeric AS shares
        FROM totals
        UNION ALL SELECT 'broker_buy', '12100', '10200', amount, ticker, shares FROM orders WHERE shares > 0
        UNION ALL SELECT 'broker_sell', '10200', '12100', amount, ticker, -shares FROM orders WHERE shares < 0
        UNION ALL SELECT 'broker_cash', '10100', '10200', sells, NULL, NULL FROM totals
        UNION ALL SELECT 'broker_diff', '12100', '67040', difference, ticker, 0 FROM orders WHERE difference > 0
        UNION ALL SELECT 'broker_diff', '67040', '12100', -difference, ticker, 0 FROM orders WHERE difference < 0
    ) AS entries
    WHERE amount > 0
),
-- Two statements, because a sale proposed as a new row would violate broker_positions_not_negative.
changed AS (
    UPDATE broker_positions AS held
    SET shares = held.shares + orders.shares, cost_basis = held.cost_basis + orders.cost, updated_at = %(now)s
    FROM orders WHERE held.ticker = orders.ticker
    RETURNING held.ticker
),
opened AS (
    INSERT INTO broker_positions (ticker, shares, cost_basis, updated_at)
    SELECT ticker, shares, cost, %(now)s FROM orders WHERE ticker NOT IN (SELECT ticker FROM changed)
)
SELECT orders, buys, sells, -difference FROM totals
