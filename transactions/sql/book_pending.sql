-- Book one batch: everything that happens to pending transactions of locked user buckets, in one statement.
-- Only `add_waiting` follows. The advisory locks on the buckets protect the rows.
{include first_pending}
-- looked_up: the merchant's company (an approved ticker counts only while its company is listed) and the round-up, which
-- is fixed since the purchase was stored, or now.
looked_up AS MATERIALIZED (
    SELECT claimed.*, merchants.status AS merchant_status, merchants.decision_id, companies.ticker,
           coalesce(claimed.round_up_cents / 100.0, kamioi_round_up(
               claimed.amount, users.round_up_enabled, users.round_up_rule, users.round_up_amount
           ))::numeric(14, 2) AS round_up,
           CASE WHEN NOT users.is_active THEN %(suspended)s
                WHEN users.email_verified_at IS NULL THEN %(unverified)s END AS hold_reason
    FROM claimed
    JOIN users ON users.id = claimed.user_id
    LEFT JOIN merchants ON merchants.merchant_key = claimed.merchant_key
    LEFT JOIN companies ON companies.ticker = merchants.ticker AND companies.is_listed AND merchants.status = 'approved'
),
-- prices: the latest quote of each ticker in the batch, if it is recent enough.
prices AS MATERIALIZED (
    SELECT tickers.ticker, newest.price
    FROM (SELECT DISTINCT ticker FROM looked_up WHERE ticker IS NOT NULL) AS tickers
    CROSS JOIN LATERAL (
        SELECT price, as_of FROM stock_prices
        WHERE stock_prices.ticker = tickers.ticker AND as_of <= %(now)s
        ORDER BY as_of DESC LIMIT 1
    ) AS newest
    WHERE newest.as_of >= %(oldest_price)s
),
-- priced: the outcome of each row without regard to limits.
priced AS MATERIALIZED (
    SELECT looked_up.*, prices.price,
           coalesce(fee_cents / 100.0, kamioi_fee(round_up, %(platform_fee)s, %(max_share)s))::numeric(14, 2)
               AS fixed_fee,
           CASE
               WHEN amount < 0 THEN 'refunded'
               WHEN hold_reason IS NOT NULL THEN 'on_hold'
               WHEN merchant_status = 'not_listed' THEN 'not_listed'
               WHEN looked_up.ticker IS NULL THEN 'needs_review'
               WHEN round_up = 0 THEN 'completed'
               WHEN NOT %(market_open)s THEN 'mapped'
               WHEN prices.price IS NULL THEN 'awaiting_price'
               ELSE 'completed'
           END AS possible
    FROM looked_up LEFT JOIN prices ON prices.ticker = looked_up.ticker
),
candidates AS MATERIALIZED (
    SELECT id, user_id, date, (date AT TIME ZONE 'UTC')::date AS day, round_up + fixed_fee AS amount
    FROM priced WHERE possible = 'completed' AND round_up > 0 AND %(is_limited)s
      AND NOT (priority = 4 AND booking > 0)  -- a correction books what was charged already
),
{include check_limits}
-- decided: the outcome of each row; shares only if it is bought now. Few columns, because on Citus every shard reads it.
decided AS MATERIALIZED (
    SELECT id, user_id, date, outcome, reason, ticker, decision_id, round_up, fixed_fee, price, was_ticker, was_round_up,
           was_fee, was_investable,
           CASE WHEN outcome = 'completed' AND round_up > 0 THEN kamioi_shares(round_up, price) END AS shares,
           CASE WHEN outcome IN ('not_listed', 'refunded', 'on_hold') THEN 0 ELSE fixed_fee END AS fee,
           CASE WHEN outcome IN ('not_listed', 'refunded', 'on_hold') THEN 0 ELSE round_up END AS set_aside
    FROM (
        SELECT priced.*, coalesce(hold_reason, over_limit.reason) AS reason,
               CASE WHEN over_limit.reason IS NULL THEN possible ELSE 'on_hold' END AS outcome
        FROM priced LEFT JOIN over_limit ON over_limit.id = priced.id
    ) AS outcomes
),
moved AS (
    UPDATE transactions SET
        status = decided.outcome,
        failure_reason = CASE WHEN decided.outcome = 'on_hold' THEN decided.reason
                              ELSE transactions.failure_reason END,
        ticker = CASE WHEN decided.outcome <> 'on_hold' THEN decided.ticker END,
        decision_id = CASE WHEN decided.outcome IN ('completed', 'mapped', 'awaiting_price', 'not_listed')
                           THEN decided.decision_id END,
        round_up = decided.set_aside,
        investable = decided.set_aside,
        fee = decided.fee,
        round_up_cents = decided.round_up * 100,
        fee_cents = decided.fixed_fee * 100,
        total_debit = transactions.amount + decided.set_aside + decided.fee,
        shares = decided.shares,
        price_per_share = CASE WHEN decided.shares IS NOT NULL THEN decided.price END,
        updated_at = %(now)s
    FROM decided
    WHERE transactions.id = decided.id AND transactions.user_id = decided.user_id
      AND transactions.date = decided.date AND transactions.status = 'pending'
    RETURNING transactions.id, transactions.user_id, transactions.date, transactions.status, transactions.merchant,
              transactions.merchant_key, transactions.category, transactions.ticker, transactions.round_up,
              transactions.fee, transactions.investable, transactions.shares, transactions.price_per_share AS price,
              transactions.booking, transactions.amount, transactions.priority, transactions.failure_reason, was_ticker,
              was_round_up, was_fee, was_investable
),
-- counted: the changes of each day's totals (see analytics.services.rollups).
counted AS (
    INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, 'pending', was_ticker, -count(*), -sum(amount), -sum(was_round_up),

           -sum(was_fee), -sum(was_investable), 0
    FROM moved GROUP BY 1, 3
    UNION ALL
    SELECT (date AT TIME ZONE 'UTC')::date, status, ticker, count(*), sum(amount), sum(round_up), sum(fee),
           sum(investable), count(*)
    FROM moved GROUP BY 1, 2, 3
),
bought AS MATERIALIZED (
    SELECT * FROM moved WHERE status = 'completed' AND investable > 0
),
booked AS (
    INSERT INTO ledger_transfers
        (user_id, date, transaction_id, kind, debit_account, credit_account, amount, ticker, shares, created_at)
    SELECT bought.user_id, date_trunc('day', %(now)s::timestamptz, 'UTC'), bought.id,
           CASE bought.booking WHEN 0 THEN entry.kind ELSE entry.kind || '_' || bought.booking + 1 END,
           entry.debit, entry.credit, entry.amount, entry.ticker, entry.shares, %(now)s
    FROM bought
    CROSS JOIN LATERAL (VALUES
        ('round_up', '11100', '20100', bought.round_up, NULL::text, NULL::numeric),
        ('fee', '11100', '40100', bought.fee, NULL, NULL),
        ('purchase', '20100', '22100', bought.investable, bought.ticker, bought.shares)
    ) AS entry (kind, debit, credit, amount, ticker, shares)
    WHERE entry.amount > 0
),
charged AS (
    SELECT user_id, sum(round_up + fee) AS amount FROM bought GROUP BY user_id
),
{include update_receivables}
holding_updates AS (
    INSERT INTO holdings (user_id, ticker, shares, cost_basis, updated_at)
    SELECT user_id, ticker, sum(shares), sum(investable), %(now)s
    FROM bought GROUP BY user_id, ticker
    ON CONFLICT (user_id, ticker) DO UPDATE SET
        shares = holdings.shares + excluded.shares,
        cost_basis = holdings.cost_basis + excluded.cost_basis,
        updated_at = excluded.updated_at
),
-- One for all purchases of a customer in the batch.
notified AS (
    INSERT INTO notifications (user_id, title, message, type, read, created_at)
    SELECT user_id,
           CASE WHEN min(ticker) = max(ticker) THEN 'You own more ' || min(ticker)
                ELSE 'You own more of ' || count(DISTINCT ticker) || ' companies' END,
           CASE count(*)
               WHEN 1 THEN min(merchant) || ': $' || min(investable) || ' bought ' || min(shares) || ' shares of '
                   || min(ticker) || ' at $' || min(price) || '.'
               ELSE count(*) || ' purchases: $' || sum(investable) || ' bought shares of '
                   || string_agg(DISTINCT ticker, ', ') || '.' END,
           'investment_success', false, %(now)s
    FROM bought WHERE priority <> 4  -- a correction notifies each customer once
    GROUP BY user_id
),
queued AS (
    INSERT INTO orders (user_id, transaction_id, transaction_date, ticker, amount, status, execute_after, created_at)
    SELECT user_id, id, date, ticker, investable, 'queued', %(next_open)s, %(now)s
    FROM moved WHERE status = 'mapped'
    ON CONFLICT (user_id, transaction_id) DO UPDATE SET
        ticker = excluded.ticker, amount = excluded.amount, execute_after = excluded.execute_after, status = 'queued',
        shares = NULL, price = NULL, executed_at = NULL
),
refunds AS (
    INSERT INTO unmatched_refunds (transaction_id, user_id, date, merchant_key, amount)
    SELECT id, user_id, date, merchant_key, amount FROM moved WHERE status = 'refunded'
    ON CONFLICT DO NOTHING
),
-- An earlier refund of which this may be the purchase is matched again.
purchases AS MATERIALIZED (
    SELECT user_id, merchant_key, amount FROM moved WHERE amount > 0
),
rechecked AS (
    UPDATE unmatched_refunds SET is_checked = false FROM purchases
    WHERE unmatched_refunds.user_id = purchases.user_id AND unmatched_refunds.merchant_key = purchases.merchant_key
      AND unmatched_refunds.amount = -purchases.amount AND is_checked
),
-- Only if any order is queued (a constant, so that PostgreSQL skips the lookups otherwise).
closed_orders AS (
    UPDATE orders SET
        status = CASE WHEN moved.status = 'completed' AND moved.shares IS NOT NULL THEN 'executed' ELSE 'cancelled' END,
        ticker = coalesce(moved.ticker, orders.ticker),
        shares = moved.shares, price = moved.price, executed_at = %(now)s
    FROM moved
    WHERE %(any_orders)s AND orders.user_id = moved.user_id AND orders.transaction_id = moved.id
      AND orders.status = 'queued' AND moved.status IN ('completed', 'not_listed', 'needs_review', 'on_hold')
),
-- waiting: what `add_waiting` writes, if there is any: on Citus, a write locks all of `merchants` until the commit.
waiting AS (
    SELECT merchant_key, min(merchant) AS merchant, min(category) AS category, count(*) AS rows, sum(round_up) AS amount
    FROM moved WHERE status = 'needs_review' GROUP BY merchant_key
)
SELECT status, CASE status WHEN 'on_hold' THEN failure_reason END, count(*),
       coalesce(sum(investable) FILTER (WHERE status = 'completed'), 0), array_agg(DISTINCT user_id),
       CASE status WHEN 'needs_review' THEN (SELECT json_agg(waiting)::text FROM waiting) END
FROM moved GROUP BY 1, 2
