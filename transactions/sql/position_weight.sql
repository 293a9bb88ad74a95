('x' || left(md5(user_id || ' ' || ticker), 15))::bit(60)::bigint
