-- Claim merchants without a proposal for this worker, the oldest first; claims of other workers expire.
WITH unclaimed AS (
    SELECT id FROM merchants
    WHERE status = 'proposed' AND source = 'ingest' AND id > %(after)s
      AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
      AND NOT EXISTS (
          SELECT FROM proposal_claims WHERE merchant_id = merchants.id AND claimed_at > %(expired)s
      )
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
INSERT INTO proposal_claims (merchant_id, claimed_at) SELECT id, %(now)s FROM unclaimed
ON CONFLICT (merchant_id) DO UPDATE SET claimed_at = excluded.claimed_at
    WHERE proposal_claims.claimed_at <= %(expired)s
RETURNING merchant_id
