-- At the cut-over: profiles, goals and preferences move from `legacy_rows` to their tables. Values that customers set in
-- Kamioi are kept, and a second cut-over adds no duplicates.
UPDATE users SET
    first_name = coalesce(nullif(users.first_name, ''), left(btrim(kept.data->>'first_name'), 75), ''),
    last_name = coalesce(nullif(users.last_name, ''), left(btrim(kept.data->>'last_name'), 75), ''),
    company_name = coalesce(nullif(users.company_name, ''), left(btrim(kept.data->>'company_name'), 150), ''),
    address = coalesce(nullif(users.address, ''), left(btrim(kept.data->>'address'), 255), ''),
    country = coalesce(nullif(users.country, ''), left(btrim(kept.data->>'country'), 60), ''),
    time_zone = coalesce(nullif(users.time_zone, ''), left(btrim(kept.data->>'timezone'), 60), ''),
    risk_tolerance = coalesce(nullif(lower(left(btrim(kept.data->>'risk_tolerance'), 30)), ''), users.risk_tolerance),
    investment_goals = coalesce(nullif(users.investment_goals, ''), left(btrim(kept.data->>'investment_goals'), 500),
        ''),
    -- The time of agreement was not recorded: use the registration.
    terms_agreed_at = coalesce(users.terms_agreed_at,
        CASE WHEN lower(kept.data->>'terms_agreed') IN ('1', 'true') THEN users.created_at END),
    privacy_agreed_at = coalesce(users.privacy_agreed_at,
        CASE WHEN lower(kept.data->>'privacy_agreed') IN ('1', 'true') THEN users.created_at END),
    marketing_agreed = users.marketing_agreed OR coalesce(lower(kept.data->>'marketing_agreed') IN ('1', 'true'), false)
FROM legacy_rows AS kept
JOIN legacy_ids AS ids ON ids.source_table = 'users' AND ids.legacy_id::text = kept.legacy_id AND NOT ids.was_here
WHERE kept.source_table = 'users' AND kept.kind = 'rest' AND users.id = ids.user_id;

INSERT INTO goals (user_id, title, target_amount, current_amount, goal_type, created_at, updated_at)
SELECT goal.user_id, goal.title, goal.target, goal.current, goal.type, goal.at, goal.at
FROM (
    SELECT ids.user_id, kept.legacy_id, coalesce(nullif(left(btrim(kept.data->>'title'), 120), ''), 'Goal') AS title,
           round((kept.data->>'target_amount')::numeric, 2) AS target,
           CASE WHEN kept.data->>'current_amount' ~ '^[0-9]{1,11}(\.[0-9]{1,20})?$'
                THEN round((kept.data->>'current_amount')::numeric, 2) ELSE 0 END AS current,
           CASE WHEN kept.data->>'goal_type' IN ('personal', 'family', 'business') THEN kept.data->>'goal_type'
                ELSE 'personal' END AS type,
           CASE WHEN kept.data->>'created_at' ~ '^(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])'
                THEN left(kept.data->>'created_at', 10)::date::timestamp AT TIME ZONE 'UTC'
                ELSE users.created_at END AS at
    FROM legacy_rows AS kept
    JOIN legacy_ids AS ids ON ids.source_table = 'users' AND ids.legacy_id::text = kept.data->>'user_id'
    JOIN users ON users.id = ids.user_id
    -- In this order, so that text that is not a number is never cast.
    WHERE kept.source_table = 'goals' AND kept.kind = 'row'
      AND CASE WHEN kept.data->>'target_amount' ~ '^[0-9]{1,11}(\.[0-9]{1,20})?$'
               THEN round((kept.data->>'target_amount')::numeric, 2) > 0 ELSE false END
) AS goal
WHERE NOT EXISTS (
    SELECT FROM goals WHERE goals.user_id = goal.user_id AND goals.title = goal.title
        AND goals.target_amount = goal.target
)
ORDER BY goal.user_id, goal.legacy_id;

-- The legacy system stored text; the same front end gets text here.
INSERT INTO user_settings (user_id, setting_key, setting_value, created_at, updated_at)
SELECT DISTINCT ON (ids.user_id, kept.data->>'setting_key')
       ids.user_id, kept.data->>'setting_key', to_jsonb(left(kept.data->>'setting_value', 2000)), now(), now()
FROM legacy_rows AS kept
JOIN legacy_ids AS ids ON ids.source_table = 'users' AND ids.legacy_id::text = kept.data->>'user_id'
WHERE kept.source_table = 'user_settings' AND kept.kind = 'row'
  AND kept.data->>'setting_key' ~ '^[A-Za-z][A-Za-z0-9_.-]{0,63}$' AND kept.data->>'setting_key' NOT LIKE 'round\_up\_%'
  AND kept.data->>'setting_value' IS NOT NULL
ORDER BY ids.user_id, kept.data->>'setting_key', kept.legacy_id DESC
ON CONFLICT (user_id, setting_key) DO NOTHING
