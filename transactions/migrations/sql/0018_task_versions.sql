-- Every change of a background task counts, whoever makes it: the number is the id of its event.
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
