-- Move the demo's proposals and decisions from "just now" to the last %(days)s days: each merchant gets the time of its
-- first purchase and of its decision from its rank.
CREATE TEMPORARY TABLE demo_history ON COMMIT DROP AS
SELECT id, merchant_key, seen_at, seen_at + interval '4 minutes' AS proposed_at,
       least(seen_at + make_interval(hours => 2 + (rank * 29 %% 44)::int), %(now)s::timestamptz - interval '30 minutes')
           AS decided_at
FROM (
    SELECT id, merchant_key, rank,
           date_trunc('day', %(now)s::timestamptz, 'UTC') - interval '1 day' + make_interval(
               days => ((rank - count) * (%(days)s - 2) / count)::int, mins => 510 + (rank * 37 %% 480)::int
           ) AS seen_at
    FROM (
        SELECT id, merchant_key, count(*) OVER () AS count,
               row_number() OVER (ORDER BY id) AS rank
        FROM merchants
    ) AS ranked
) AS dated;

UPDATE mapping_decisions AS decision
SET decided_at = CASE decision.action WHEN 'undo' THEN %(now)s::timestamptz - interval '4 hours'
        ELSE history.decided_at END,
    waited_seconds = CASE WHEN decision.waited_seconds IS NOT NULL
        THEN extract(epoch FROM history.decided_at - history.seen_at)::int END
FROM demo_history AS history
WHERE history.merchant_key = decision.merchant_key;

-- Automatic decisions follow the proposal at once.
UPDATE mapping_decisions AS decision
SET decided_at = history.proposed_at, waited_seconds = extract(epoch FROM history.proposed_at - history.seen_at)::int
FROM demo_history AS history
WHERE history.merchant_key = decision.merchant_key AND decision.automatic;

UPDATE llm_mappings AS mapping
SET created_at = CASE mapping.source WHEN 'admin' THEN history.decided_at ELSE history.proposed_at END,
    ai_decided_at = CASE WHEN mapping.ai_decided_at IS NULL THEN NULL
        WHEN mapping.ai_auto_approved OR mapping.status = 'pending' THEN history.proposed_at
        ELSE history.decided_at END
FROM demo_history AS history
WHERE history.merchant_key = mapping.merchant_key AND mapping.source <> 'bulk';

UPDATE merchants AS merchant
SET created_at = history.seen_at,
    decided_at = CASE WHEN merchant.decided_at IS NULL THEN NULL
        WHEN merchant.source = 'admin' THEN history.decided_at ELSE history.proposed_at END
FROM demo_history AS history
WHERE history.id = merchant.id;
