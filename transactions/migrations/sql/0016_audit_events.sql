-- The trail is only ever added to. TRUNCATE is for the owner of the database alone.
CREATE FUNCTION kamioi_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only added to', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_only_added_to';
END
$$;
CREATE TRIGGER audit_events_only_added_to BEFORE UPDATE OR DELETE ON audit_events
FOR EACH ROW EXECUTE FUNCTION kamioi_refuse_change();

-- reverse
DROP TRIGGER audit_events_only_added_to ON audit_events;
DROP FUNCTION kamioi_refuse_change();
