-- Add or update brands; edited rows are kept. Returns whether each written row is new.
INSERT INTO catalogue_brands (name, aliases, owner, ticker, reason, category, source, edited, updated_at) VALUES %s
ON CONFLICT (name) DO UPDATE SET
    aliases = excluded.aliases, owner = excluded.owner, ticker = excluded.ticker, reason = excluded.reason,
    category = excluded.category, source = excluded.source, updated_at = excluded.updated_at
WHERE NOT catalogue_brands.edited
  AND (catalogue_brands.aliases, catalogue_brands.owner, catalogue_brands.ticker, catalogue_brands.reason,
       catalogue_brands.category)
      IS DISTINCT FROM (excluded.aliases, excluded.owner, excluded.ticker, excluded.reason, excluded.category)
RETURNING xmax = 0 AS is_new
