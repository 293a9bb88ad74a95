-- The audit trail is append-only. Only the owner of the database can truncate it.
CREATE FUNCTION kamioi_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_only_added_to';
END
$$;
CREATE TRIGGER audit_events_only_added_to BEFORE UPDATE OR DELETE ON audit_events
FOR EACH ROW EXECUTE FUNCTION kamioi_refuse_change();

-- Count every change of a background task. The version is the id of its server-sent event.
CREATE FUNCTION kamioi_task_version() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END
$$;

CREATE TRIGGER background_tasks_version BEFORE UPDATE ON background_tasks
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION kamioi_task_version();

-- reverse
DROP TRIGGER background_tasks_version ON background_tasks;
DROP FUNCTION kamioi_task_version();
DROP TRIGGER audit_events_only_added_to ON audit_events;
DROP FUNCTION kamioi_refuse_change();
