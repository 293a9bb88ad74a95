-- At most %(per_place)s rows of each bucket, most urgent first: one index lookup per bucket.
WITH claimed AS MATERIALIZED (
{include pending_rows}
),
