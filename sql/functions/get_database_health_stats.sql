-- What the application's health endpoint shows: {"healthy": boolean, "issues": [text], "stats": {...}}
-- healthy is true if there are no issues. It needs no rights: what a role may not see is null and no issue.
--
-- An issue is, by the same rules as the checks dead-rows, unused-indexes, invalid-indexes, expired-rows and
-- materialized-views-empty of health_info, which knows more and says what to do,
--   a table of whose rows 20 % or more are dead, and at least 10 000: below that, autovacuum has no reason to come
--   an index of 10 MB or more without a scan in at least 35 days of statistics, unless it enforces something, a foreign key
--     needs it, or the planner has the statistics of its expressions
--   an index that is not valid, which is what a failed CREATE INDEX CONCURRENTLY leaves behind
--   more than 1 000 expired sessions; they are counted up to 100 000
--   the view user_subscription_summary without data

-- Nothing here is looked up in schemas in which somebody else may have made something.
SET LOCAL search_path = pg_catalog, pg_temp;

-- A function of this name that was made by hand may return another type, which cannot be replaced.
DO $do$
BEGIN
    IF (SELECT prorettype <> 'jsonb'::regtype OR proretset FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('public.get_database_health_stats()')) THEN
        DROP FUNCTION public.get_database_health_stats();
    END IF;
END
$do$;

CREATE OR REPLACE FUNCTION public.get_database_health_stats()
RETURNS jsonb
LANGUAGE plpgsql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    issues text[];
    tables jsonb;
    unused jsonb;
    expired bigint;
    counted_since timestamptz;
BEGIN
    -- A crash loses the statistics; only the second of the two tells. Null: never lost since the database was created.
    SELECT greatest(d.stats_reset, b.stats_reset)
    INTO counted_since
    FROM pg_stat_bgwriter AS b LEFT JOIN pg_stat_database AS d ON d.datname = current_database();

    SELECT
        coalesce(jsonb_agg(jsonb_build_object(
            'table', format('%I.%I', schemaname, relname), 'live_rows', n_live_tup, 'dead_rows', n_dead_tup,
            'dead_percent', percent, 'size_bytes', pg_table_size(relid),
            'last_vacuum', greatest(last_vacuum, last_autovacuum), 'last_analyze', greatest(last_analyze, last_autoanalyze)
        ) ORDER BY n_dead_tup DESC, schemaname, relname), '[]'),
        coalesce(array_agg(format('%I.%I has %s %% dead rows (%s)', schemaname, relname, percent, n_dead_tup)
            ORDER BY n_dead_tup DESC, schemaname, relname) FILTER (WHERE percent >= 20 AND n_dead_tup >= 10000), '{}')
    INTO tables, issues
    FROM (
        SELECT *, round(100.0 * n_dead_tup / nullif(n_live_tup + n_dead_tup, 0), 1) AS percent FROM pg_stat_user_tables
    ) AS t;

    SELECT
        coalesce(jsonb_agg(jsonb_build_object('index', name, 'table', table_name, 'size_bytes', size) ORDER BY size DESC, name)
            FILTER (WHERE is_unused), '[]'),
        issues || coalesce(array_agg(format('index %s has not been used since %s', name, coalesce(counted_since::date::text, 'it was created'))
            ORDER BY size DESC, name) FILTER (WHERE is_unused), '{}')
            || coalesce(array_agg(format('index %s is not valid', name) ORDER BY name) FILTER (WHERE NOT indisvalid), '{}')
    INTO unused, issues
    FROM (
        SELECT i.indisvalid, size, format('%I.%I', s.schemaname, s.indexrelname) AS name,
            format('%I.%I', s.schemaname, s.relname) AS table_name,
            i.indisvalid AND s.idx_scan = 0 AND size >= 10 * 1024 * 1024
                AND coalesce(counted_since < now() - interval '35 days', true)
                AND NOT (i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisreplident) AND i.indexprs IS NULL
                AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = i.indrelid AND k.contype = 'f'
                    AND k.conkey @> (i.indkey::int2[])[0:cardinality(k.conkey) - 1]) AS is_unused
        FROM pg_stat_user_indexes AS s
        JOIN pg_index AS i USING (indexrelid)
        CROSS JOIN LATERAL pg_relation_size(s.indexrelid) AS size
    ) AS x;

    IF has_table_privilege(to_regclass('public.sessions'), 'SELECT') THEN
        SELECT count(*)
        INTO expired
        FROM (SELECT FROM public.sessions WHERE expires_at <= now() AT TIME ZONE 'UTC' LIMIT 100000) AS e;
        IF expired > 1000 THEN
            issues := issues || format('%s%s expired sessions', expired, CASE WHEN expired = 100000 THEN ' or more' END);
        END IF;
    END IF;

    IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.user_subscription_summary') AND NOT relispopulated) THEN
        issues := issues || 'user_subscription_summary has no data: it was never refreshed'::text;
    END IF;

    RETURN jsonb_build_object(
        'healthy', cardinality(issues) = 0,
        'issues', to_jsonb(issues),
        'stats', jsonb_build_object(
            'tables', tables,
            'unused_indexes', unused,
            'expired_sessions', expired,
            'database_size_bytes', pg_database_size(current_database()),
            'connections', (SELECT sum(numbackends) FROM pg_stat_database WHERE datname = current_database()),
            'statistics_since', counted_since
        )
    );
END
$function$;

COMMENT ON FUNCTION public.get_database_health_stats() IS
    'Health of the database for the application: {"healthy", "issues", "stats"}';
