-- Deletes expired sessions and returns how many. The application runs: SELECT cleanup_expired_sessions() AS deleted_count
--
-- sessions.expires_at has no time zone and is written in UTC, so it is compared with the present time in UTC: the result
-- is the same in every time zone of session, role and database.
--
-- One call deletes at most 50 000 sessions, the oldest first, because it is one transaction: after a long pause, call it
-- until it returns 0. Rows that somebody else has locked are left for the next call.

-- Nothing here is looked up in schemas in which somebody else may have made something.
SET LOCAL search_path = pg_catalog, pg_temp;

-- A function of this name that was made by hand may return another type, which cannot be replaced.
DO $do$
BEGIN
    IF (SELECT prorettype <> 'integer'::regtype OR proretset FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('public.cleanup_expired_sessions()')) THEN
        DROP FUNCTION public.cleanup_expired_sessions();
    END IF;
END
$do$;

CREATE OR REPLACE FUNCTION public.cleanup_expired_sessions()
RETURNS integer
LANGUAGE sql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $function$
    WITH expired AS MATERIALIZED (
        SELECT id
        FROM public.sessions
        WHERE expires_at <= now() AT TIME ZONE 'UTC'
        ORDER BY expires_at
        LIMIT 50000
        FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM public.sessions
        USING expired
        WHERE sessions.id = expired.id AND sessions.expires_at <= now() AT TIME ZONE 'UTC'
        RETURNING 1
    )
    SELECT count(*)::integer FROM deleted
$function$;

COMMENT ON FUNCTION public.cleanup_expired_sessions() IS
    'Deletes at most 50 000 expired sessions, the oldest first, and returns how many';
