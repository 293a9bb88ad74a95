-- The words of company names, for suggestions while a reviewer types: without apostrophes, divided at all other
-- punctuation. `llm_center/sql/search_companies.sql` repeats the expression.
CREATE INDEX idx_companies_words ON companies USING gin (
    to_tsvector('simple', regexp_replace(translate(name, '''’', ''), '[^[:alnum:]]+', ' ', 'g'))
);

-- reverse
DROP INDEX idx_companies_words;
