-- The new rows of a batch and the rows of other sources that may be the same purchases: same amount, a day apart at
-- most, similar merchant, not in two known accounts. One row per pair of groups of equal rows, with the ids of both.
WITH near AS MATERIALIZED (
    SELECT id, (date AT TIME ZONE 'UTC')::date AS day, amount, merchant_key, bank_account_id, related_id,
           source = 'statement' AND statement_id = %(statement)s AND id BETWEEN %(first_id)s AND %(last_id)s AS is_new,
           status = 'on_hold' AND failure_reason = %(reason)s OR row_class = 'duplicate' AS is_duplicate,
           source <> 'statement' OR coalesce(statement_id <> ALL (%(same_layout)s), true) AS is_other, status
    FROM transactions
    WHERE user_id = %(user)s AND date >= %(first)s - interval '2 days' AND date < %(last)s + interval '3 days'
),
-- counterparts of other rows of this source already
matched AS (SELECT related_id FROM near WHERE is_duplicate AND NOT is_other AND related_id IS NOT NULL),
sides AS (
    SELECT is_new, day, amount, merchant_key, bank_account_id, array_agg(id ORDER BY id) AS ids,
           row_number() OVER (PARTITION BY is_new, day, amount ORDER BY merchant_key, bank_account_id) AS place
    FROM near
    WHERE CASE WHEN is_new THEN status = 'pending'
               ELSE is_other AND NOT is_duplicate AND status NOT IN ('excluded', 'undone')
                    AND id <> ALL (%(taken)s) AND id NOT IN (SELECT related_id FROM matched) END
    GROUP BY 1, 2, 3, 4, 5
),
new AS (SELECT * FROM sides WHERE is_new),
other AS (SELECT * FROM sides WHERE NOT is_new),
-- Hash joins: as many equal amounts on a day as a file may have cost no more than its rows.
pairs AS (
    SELECT new.amount, new.day, other.day AS other_day, new.ids, other.ids AS other_ids, true AS is_same_merchant,
           new.bank_account_id, other.bank_account_id AS other_account_id
    FROM new CROSS JOIN generate_series(-1, 1) AS shift
    JOIN other
      ON other.amount = new.amount AND other.day = new.day + shift AND other.merchant_key = new.merchant_key
    UNION ALL
    SELECT new.amount, new.day, other.day, new.ids, other.ids, false, new.bank_account_id, other.bank_account_id
    FROM new CROSS JOIN generate_series(-1, 1) AS shift
    JOIN other ON other.amount = new.amount AND other.day = new.day + shift AND other.place <= %(limit)s
    WHERE new.place <= %(limit)s AND other.merchant_key <> new.merchant_key
      AND kamioi_similar_merchants(new.merchant_key, other.merchant_key)
)
SELECT amount, day, other_day, ids, other_ids, is_same_merchant FROM pairs
WHERE bank_account_id IS NULL OR other_account_id IS NULL OR bank_account_id = other_account_id
