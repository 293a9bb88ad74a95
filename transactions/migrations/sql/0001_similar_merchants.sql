-- Whether two merchant keys are probably one merchant as two sources spell it: equal but for blanks, one within the
-- other, or with the same first word.
CREATE OR REPLACE FUNCTION kamioi_similar_merchants(one text, other text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT one = other
        OR (length(one) >= 3 AND strpos(replace(other, ' ', ''), replace(one, ' ', '')) > 0)
        OR (length(other) >= 3 AND strpos(replace(one, ' ', ''), replace(other, ' ', '')) > 0)
        OR (length(split_part(one, ' ', 1)) >= 4 AND split_part(one, ' ', 1) = split_part(other, ' ', 1))
$$;

-- reverse
DROP FUNCTION kamioi_similar_merchants(text, text);
