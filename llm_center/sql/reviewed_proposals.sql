-- Proposals with a ticker that a reviewer decided, and automatic approvals that were undone; newest first.
SELECT decided_at, before->>'source', coalesce(before->>'raw_confidence', before->>'confidence')::numeric,
       (before->>'confidence')::numeric, before->>'ticker', after->>'ticker', action,
       action = 'approve' AND before->>'ticker' = after->>'ticker', released_count
FROM (
    SELECT decision.decided_at, decision.action, decision.before, decision.after, decision.released_count
    FROM mapping_decisions AS decision
    WHERE NOT decision.automatic AND decision.action <> 'undo' AND decision.before->>'source' IN ('matcher', 'llm')
      AND decision.before->>'status' = 'proposed'
      AND NOT EXISTS (SELECT FROM mapping_decisions AS undo WHERE undo.undoes_id = decision.id)
    UNION ALL
    SELECT undo.decided_at, 'undo', first.after, undo.after, first.released_count
    FROM mapping_decisions AS first JOIN mapping_decisions AS undo ON undo.undoes_id = first.id
    WHERE first.automatic AND first.after->>'source' IN ('matcher', 'llm')
) AS reviewed
WHERE before->>'ticker' IS NOT NULL AND before->>'confidence' IS NOT NULL
ORDER BY decided_at DESC LIMIT %(limit)s
