-- Add or update brands; edited rows are kept. Returns whether each written row is new.
INSERT INTO catalogue_brands (name, aliases, owner, ticker, reason, category, source, as_of, edited, updated_at) VALUES %s
ON CONFLICT (name) DO UPDATE SET
    aliases = excluded.aliases, owner = excluded.owner, ticker = excluded.ticker, reason = excluded.reason,
    category = excluded.category, source = excluded.source, as_of = excluded.as_of, updated_at = excluded.updated_at
WHERE NOT catalogue_brands.edited
  AND (catalogue_brands.aliases, catalogue_brands.owner, catalogue_brands.ticker, catalogue_brands.reason,
       catalogue_brands.category, catalogue_brands.source, catalogue_brands.as_of)
      IS DISTINCT FROM (excluded.aliases, excluded.owner, excluded.ticker, excluded.reason, excluded.category,
       excluded.source, excluded.as_of)
RETURNING xmax = 0 AS is_new
