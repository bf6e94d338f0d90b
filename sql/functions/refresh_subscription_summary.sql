-- Brings the view user_subscription_summary up to date. The application runs: SELECT refresh_subscription_summary()
-- hourly, and after a subscription has changed.
--
-- Readers go on reading meanwhile (CONCURRENTLY), unless the view has never been filled or has lost its unique index.
--
-- Only one refresh can run at a time. A caller waits 5 seconds for another one; then it gives up with a warning and not
-- with an error, because the change of a subscription must not fail for the sake of a summary, and pooled connections must
-- not pile up. What it wanted to show appears with the next refresh, at the latest with the hourly one.

-- Nothing here is looked up in schemas in which somebody else may have made something.
SET LOCAL search_path = pg_catalog, pg_temp;

-- A function of this name that was made by hand may return another type, which cannot be replaced.
DO $do$
BEGIN
    IF (SELECT prorettype <> 'void'::regtype OR proretset FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('public.refresh_subscription_summary()')) THEN
        DROP FUNCTION public.refresh_subscription_summary();
    END IF;
END
$do$;

CREATE OR REPLACE FUNCTION public.refresh_subscription_summary()
RETURNS void
LANGUAGE plpgsql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $function$
DECLARE
    view constant regclass := 'public.user_subscription_summary';
    nonblocking boolean;
BEGIN
    SELECT c.relispopulated AND EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    )
    INTO nonblocking
    FROM pg_class AS c
    WHERE c.oid = view;

    IF nonblocking THEN
        REFRESH MATERIALIZED VIEW CONCURRENTLY public.user_subscription_summary;
    ELSE
        REFRESH MATERIALIZED VIEW public.user_subscription_summary;
    END IF;
EXCEPTION
    WHEN lock_not_available THEN
        RAISE WARNING 'user_subscription_summary is being refreshed by somebody else; it is left as it is';
END
$function$;

COMMENT ON FUNCTION public.refresh_subscription_summary() IS
    'Refreshes the view user_subscription_summary, without blocking its readers where that is possible';
