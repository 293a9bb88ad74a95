-- Add or update companies; edited rows are kept. Returns whether each written row is new.
INSERT INTO companies (ticker, name, exchange, cik, is_listed, aliases, edited) VALUES %s
ON CONFLICT (ticker) DO UPDATE SET
    name = excluded.name, exchange = excluded.exchange, cik = excluded.cik, is_listed = excluded.is_listed
WHERE NOT companies.edited
  AND (companies.name, companies.exchange, companies.cik, companies.is_listed)
      IS DISTINCT FROM (excluded.name, excluded.exchange, excluded.cik, excluded.is_listed)
RETURNING xmax = 0 AS is_new
