# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The program that runs scripts on the server, composed of named parts.

It runs there in one statement, so that nothing it locks on the way stays locked while an answer travels: what is tried
out is undone by the same statement.

A script may set whatever it likes, its role and search_path included. None of that reaches our own statements or the next
script: {{ours}} follows each text of a script, and every operator and function of ours before it is one of pg_catalog by
name. The limits on waiting for locks are ours in scripts, too (LIMITS).
"""

from __future__ import annotations

import re

# Before and after the program. What is set for the session goes with it.
BEGIN = """
BEGIN;
SELECT pg_catalog.pg_current_xact_id(),
       pg_catalog.set_config('vtchat_maintenance.path', {path}, true),
       pg_catalog.set_config('vtchat_maintenance.input', {input}, true);
SET LOCAL search_path = pg_catalog, pg_temp;
DO {program};
COMMIT;
SELECT pg_catalog.current_setting('vtchat_maintenance.result')::pg_catalog.jsonb AS result
"""

# mode: compare (everything is undone in the end), build (one materialized view, beside the old one), apply.
# A script is tried out in a subtransaction; if it makes a difference, it is run once more, and that stays.
# The texts of scripts run in {{run: …}}, with the user's search_path, everything else with our own.
_PROGRAM = """
#variable_conflict use_variable
DECLARE
  input constant jsonb := convert_from(decode(current_setting('vtchat_maintenance.input'), 'base64'), 'UTF8');
  q constant jsonb := input->'queries';
  mode constant text := input->>'mode';
  path constant text := current_setting('vtchat_maintenance.path');
  limit_ms constant float := input->>'lock_ms';
  since timestamptz := clock_timestamp();
  step jsonb; item jsonb; entry jsonb; one text; number text;
  script text; final text; name text; space text; built text; trial text;
  old oid; class oid; object oid; is_new boolean; kind text; conflict text; message text; hint text;
  was jsonb; replacing jsonb; after jsonb; before jsonb; also jsonb; dependents jsonb; others jsonb; indexes jsonb;
  wanted jsonb; found jsonb; named jsonb; now_there jsonb;
  belongings jsonb; later jsonb; repeat_script boolean; lowest bigint; own bigint[]; numbers bigint[];
  tries int;
  objects jsonb := '[]'; builds jsonb := '[]'; refusal jsonb; pairs jsonb; present jsonb := '[]'; asked jsonb := '[]';
  future jsonb := '[]'; scanned jsonb; described jsonb; files jsonb; parts jsonb := '[]'; logged jsonb; about text;
  statement text; prelude text := ''; done boolean; tables oid[]; sequences oid[]; catalogs jsonb;
  names jsonb := '{}'; names_path text; uses jsonb := '{}';
  counting constant boolean := current_setting('track_counts');
  users_role constant text := current_setting('role');
  session constant jsonb := (SELECT jsonb_object_agg(s.name, s.setting) FROM pg_settings AS s WHERE s.source = 'session'
    AND s.name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable'));
BEGIN
 EXECUTE q->>'catalogs' INTO catalogs;
 EXECUTE q->>'logged' INTO logged;
 names_path := CASE WHEN logged IS NULL THEN 'pg_catalog, pg_temp'
   ELSE concat_ws(', ', 'pg_catalog', nullif(path, ''), 'pg_temp') END;
 {{ours}}
 BEGIN
  << steps >>
  FOR step IN SELECT e FROM jsonb_array_elements(input->'steps') AS e LOOP
    number := step->>'number'; prelude := step->>'prelude'; about := ''; parts := '[]';
    script := step->>'text'; final := script; was := '[]'; later := '[]'; conflict := NULL; repeat_script := false; old := NULL;
    {{ours}}

    IF step->>'kind' <> 'script' THEN
      {{look: space := pg_catalog.current_schema();}}
      space := coalesce(step->>'schema', space);
      IF step->>'catalog' <> current_database() THEN
        refusal := jsonb_build_object('number', number, 'message',
          format('%s is not in this database: leave %I out', step->>'name', step->>'catalog'));
        EXIT steps;
      END IF;
      name := coalesce(quote_ident(space) || '.', '') || quote_ident(step->>'name');
      names := names || jsonb_build_object(step->>'at', name);
      trial := coalesce(quote_ident(space) || '.', '') || quote_ident(input->>'trial');
      built := coalesce(quote_ident(space) || '.', '') || quote_ident(step->>'built');
    END IF;

    IF step->>'kind' = 'materialized view' THEN
      class := 'pg_class'::regclass;
      SELECT c.oid, c.relkind INTO old, kind FROM pg_class AS c WHERE c.oid = to_regclass(name);
      IF old IS NOT NULL AND kind <> 'm' THEN
        refusal := jsonb_build_object('number', number, 'message',
          format('there is another object with the name %s, which is no materialized view', name));
        EXIT steps;
      END IF;
      script := concat(step->>'head', name, step->>'body', ' WITH NO DATA;', step->>'tail');
      final := concat(step->>'head', name, step->>'body', step->>'with', ';', step->>'tail');
      IF mode = 'compare' THEN
        final := script;
      END IF;
      IF old IS NULL AND mode = 'build' THEN
        {{run: concat(step->>'head', built, step->>'body', step->>'with', step->>'pad')}}
        {{ddl: format('COMMENT ON MATERIALIZED VIEW %s IS %L', built, step->>'comment')}}
        CONTINUE steps;
      ELSIF old IS NULL THEN
        builds := builds || (step->'at');
        IF mode = 'apply' AND (step->>'ready')::boolean THEN
          {{ddl: format('COMMENT ON MATERIALIZED VIEW %s IS NULL', built)}}
          {{ddl: format('ALTER MATERIALIZED VIEW %s RENAME TO %I', built, step->>'name')}}
          was := jsonb_build_array(jsonb_build_object('kind', 'materialized view', 'object', name, 'address', name,
            'classid', class::bigint, 'absent', true));
          script := step->>'rest'; final := script;
        END IF;
      ELSE
        BEGIN
          {{run: concat(step->>'head', trial, step->>'body', ' WITH NO DATA', step->>'pad')}}
          {{describe: jsonb_build_array(jsonb_build_array(class::bigint, to_regclass(trial)::oid::bigint)) => wanted}}
          RAISE EXCEPTION USING ERRCODE = 'VM000';
        EXCEPTION WHEN SQLSTATE 'VM000' THEN
          NULL;
        END;
        also := jsonb_build_array(jsonb_build_array(class::bigint, old::bigint));
        {{describe: also => was}}
        script := step->>'rest'; final := script;
        IF was->0->>'definition' IS DISTINCT FROM wanted->0->>'definition' THEN
          IF mode = 'build' THEN
            {{run: concat(step->>'head', built, step->>'body', CASE WHEN (SELECT relispopulated FROM pg_class
              WHERE oid = old) THEN '' ELSE step->>'with' END, step->>'pad')}}
            EXECUTE q->>'indexes' INTO indexes USING old;
            {{indexes}}
            {{ddl: format('COMMENT ON MATERIALIZED VIEW %s IS %L', built, step->>'comment')}}
            CONTINUE steps;
          END IF;
          builds := builds || (step->'at');
          object := old;
          conflict := 'it has another definition';
        END IF;
      END IF;
    ELSIF step->>'kind' = 'type' THEN
      class := 'pg_type'::regclass;
      old := to_regtype(name);
      script := concat(step->>'head', name, step->>'body', ';', step->>'tail'); final := script;
      IF old IS NOT NULL THEN
        BEGIN
          {{run: concat(step->>'head', trial, step->>'body', step->>'pad')}}
          {{describe: jsonb_build_array(jsonb_build_array(class::bigint, to_regtype(trial)::oid::bigint)) => wanted}}
          EXECUTE q->>'parts' INTO parts USING old, to_regtype(trial)::oid;
          RAISE EXCEPTION USING ERRCODE = 'VM000';
        EXCEPTION WHEN SQLSTATE 'VM000' THEN
          NULL;
        END;
        also := jsonb_build_array(jsonb_build_array(class::bigint, old::bigint));
        {{describe: also => was}}
        IF was->0->>'definition' IS DISTINCT FROM wanted->0->>'definition' THEN
          object := old;
          conflict := 'it has another definition';
        ELSE
          script := step->>'rest'; final := script;
        END IF;
      END IF;
    END IF;

    SELECT coalesce(jsonb_agg(jsonb_build_array(n.class::bigint, n.oid::bigint)), '[]') INTO named FROM (
      SELECT 'pg_namespace'::regclass::oid AS class, oid FROM pg_namespace
      WHERE nspname IN (SELECT jsonb_array_elements_text(step->'schemas'))
      UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension
      WHERE extname IN (SELECT jsonb_array_elements_text(step->'extensions'))) AS n;
    also := named; tries := 0;
    << attempt >>
    LOOP
      tries := tries + 1;
      IF conflict IS NOT NULL THEN  -- the object has to go first
        EXECUTE q->>'dependents' INTO dependents, others USING class, object;
        also := jsonb_build_array(jsonb_build_array(class::bigint, object::bigint));
        {{describe: also => replacing}}
        is_new := coalesce(step->>'kind' = 'materialized view' AND object = old, false);
        IF jsonb_array_length(others) > 0 OR input->>'on_conflict' <> 'recreate'
         AND (NOT is_new OR jsonb_array_length(dependents) > 0) THEN
          refusal := jsonb_build_object('number', number, 'conflict', true, 'object', replacing->0->>'object',
            'message', conflict, 'others', others, 'parts', parts,
            'views', (SELECT coalesce(jsonb_agg('view ' || (e->>'name')), '[]') FROM jsonb_array_elements(dependents) AS e));
          EXIT steps;
        END IF;
        was := was || CASE WHEN is_new OR step->>'kind' = 'type' AND coalesce(object = old, false) THEN '[]' ELSE replacing END;
        FOR item IN SELECT e FROM jsonb_array_elements(dependents) AS e LOOP
          also := jsonb_build_array(jsonb_build_array('pg_class'::regclass::oid::bigint, (item->>'oid')::bigint));
          EXECUTE q->>'belongings' INTO belongings USING 'pg_class'::regclass::oid, (item->>'oid')::oid;
          later := later || jsonb_build_object('statement', item->>'create') || belongings;
        END LOOP;
        EXECUTE q->>'belongings' INTO belongings USING class, object;
        IF is_new THEN
          EXECUTE q->>'indexes' INTO indexes USING old;
          about := format('/* vtchat.maintenance %s *//* of %s */ ', number, replace(replace(name, '*/', '* /'), '/*', '/ *'));
          IF (step->>'ready')::boolean AND mode = 'apply' THEN
            EXECUTE q->>'indexes' INTO now_there USING to_regclass(built)::oid;
            IF (SELECT array_agg(concat(step->>'built', ' ', e->>'oid', e->>'tail') ORDER BY 1)
                FROM jsonb_array_elements(indexes) AS e)
             IS DISTINCT FROM
             (SELECT array_agg(concat(e->>'name', e->>'tail') ORDER BY 1) FROM jsonb_array_elements(now_there) AS e) THEN
              RAISE EXCEPTION USING ERRCODE = '55006',
                MESSAGE = format('the indexes of %s have changed while its replacement was being built; run it again', name);
            END IF;
          ELSE
            {{run: concat(step->>'head', built, step->>'body', CASE WHEN mode = 'compare' THEN ' WITH NO DATA'
              WHEN (SELECT relispopulated FROM pg_class WHERE oid = old) THEN '' ELSE step->>'with' END, step->>'pad')}}
            {{indexes}}
            since := clock_timestamp();
          END IF;
        END IF;
        PERFORM set_config('lock_timeout',
          greatest(1, limit_ms - 1000 * extract(epoch FROM clock_timestamp() - since))::int::text, true);
        FOR item IN SELECT e FROM jsonb_array_elements(dependents) WITH ORDINALITY AS a (e, n) ORDER BY n DESC LOOP
          {{ddl: about || format('DROP VIEW %s', item->>'name')}}
        END LOOP;
        IF is_new THEN
          {{ddl: about || format('DROP MATERIALIZED VIEW %s', name)}}
          {{ddl: about || format('COMMENT ON MATERIALIZED VIEW %s IS NULL', built)}}
          {{ddl: about || format('ALTER MATERIALIZED VIEW %s RENAME TO %I', built, step->>'name')}}
          FOR item IN SELECT e FROM jsonb_array_elements(indexes) AS e LOOP
            one := quote_ident(space) || '.';
            {{ddl: about
              || format('ALTER INDEX %s%I RENAME TO %I', one, concat(step->>'built', ' ', item->>'oid'), item->>'name')}}
            IF item->>'comment' IS NOT NULL THEN
              {{ddl: format('COMMENT ON INDEX %s%I IS %L', one, item->>'name', item->>'comment')}}
            END IF;
            IF (item->>'clustered')::boolean THEN
              {{ddl: format('ALTER MATERIALIZED VIEW %s CLUSTER ON %I', name, item->>'name')}}
            END IF;
          END LOOP;
          later := belongings || later;
        ELSE
          {{ddl: format('/* vtchat.maintenance %s */DROP %s %s', number, CASE WHEN class = 'pg_proc'::regclass THEN 'ROUTINE'
            WHEN class = 'pg_type'::regclass THEN 'TYPE' ELSE 'VIEW' END, replacing->0->>'address')}}
          later := belongings || later;
          repeat_script := true;
        END IF;
        conflict := NULL; also := named;
        IF is_new THEN  -- before the rest of the script, which has the last word
          FOR entry IN SELECT e FROM jsonb_array_elements(later) AS e LOOP
            EXECUTE q->>'oid' INTO object USING entry;
            IF (entry->>'revoke')::boolean THEN
              EXECUTE q->>'revokes' INTO one USING (entry->>'classid')::oid, object;
            ELSIF entry->>'column' IS NULL OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = object
                AND attname = entry->>'column' AND NOT attisdropped) THEN
              one := entry->>'statement';
            ELSE
              one := NULL;
            END IF;
            IF one IS NOT NULL THEN
              {{give: format('/* vtchat.maintenance %s */', number) || one}}
            END IF;
          END LOOP;
          later := '[]';
        END IF;
      END IF;

      after := '[]'; before := '[]'; scanned := '[]'; files := '[]'; lowest := NULL; done := false;
      BEGIN
        EXECUTE q->>'own' INTO own;
        {{run: script}}
        EXECUTE q->>'rows' INTO tables USING counting;
        EXECUTE q->>'advanced' INTO sequences;
        EXECUTE q->>'own' INTO numbers;
        SELECT min(n) INTO lowest FROM unnest(numbers) AS n WHERE n <> ALL (own);
        IF lowest IS NOT NULL THEN
          {{scan: during => scanned}}
          EXECUTE q->>'files' INTO files USING scanned;
        END IF;
        {{describe: also || scanned => after}}
        done := true;
        RAISE EXCEPTION USING ERRCODE = 'VM000';
      EXCEPTION
        WHEN SQLSTATE 'VM000' THEN
          IF NOT done THEN
            RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = SQLERRM;  -- the script's own
          END IF;
        WHEN invalid_function_definition OR invalid_table_definition THEN
          GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
          object := NULL;
          IF SQLSTATE = '42P13' THEN
            class := 'pg_proc'::regclass;
            one := substring(hint FROM 'DROP (?:FUNCTION|PROCEDURE|AGGREGATE|ROUTINE) (.*\\))');
            {{look: object := pg_catalog.to_regprocedure(one);}}
          ELSE
            class := 'pg_class'::regclass;
            SELECT min(v) INTO one FROM jsonb_array_elements_text(step->'views') AS v HAVING count(*) = 1;
            {{look: object := pg_catalog.to_regclass(one);}}
            SELECT min(c.oid::bigint)::oid INTO object FROM pg_class AS c WHERE c.oid = object AND c.relkind = 'v';
          END IF;
          IF object IS NULL OR tries > 9 THEN
            RAISE;
          END IF;
          conflict := message;
      END;
      CONTINUE attempt WHEN conflict IS NOT NULL;
      pairs := '[]';
      IF lowest IS NOT NULL THEN
        {{scan: undone => pairs}}
      END IF;
      {{describe: also || scanned || pairs => before}}
      -- What has only lost something, such as its comment, bears no new number: once more, with its name.
      SELECT coalesce(jsonb_agg(jsonb_build_array(e->'classid', e->'objid')), '[]') INTO pairs
      FROM jsonb_array_elements(before) AS e
      WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(after) AS a
               WHERE a->'classid' = e->'classid' AND a->'objid' = e->'objid');
      IF pairs <> '[]' AND also = named THEN
        also := named || pairs;
        CONTINUE attempt;
      END IF;
      EXIT attempt;
    END LOOP;
    {{refuse definitions}}
    {{refuse effects}}

    IF before IS DISTINCT FROM after THEN
      {{run: final}}
    END IF;
    FOR entry IN SELECT e FROM jsonb_array_elements(later) AS e LOOP
      EXECUTE q->>'oid' INTO object USING entry;
      IF (entry->>'revoke')::boolean THEN
        EXECUTE q->>'revokes' INTO one USING (entry->>'classid')::oid, object;
      ELSIF entry->>'column' IS NULL OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = object
          AND attname = entry->>'column' AND NOT attisdropped) THEN
        one := entry->>'statement';
      ELSE
        one := NULL;
      END IF;
      IF one IS NOT NULL THEN
        {{give: format('/* vtchat.maintenance %s */', number) || one}}
      END IF;
    END LOOP;
    IF repeat_script THEN  -- what the script says of privileges and comments has the last word
      script := CASE WHEN step->>'kind' = 'script' THEN script ELSE step->>'rest' END;
      {{run: script}}
    END IF;

    SELECT coalesce(jsonb_agg(x.pair), '[]') INTO found FROM (
      SELECT jsonb_build_object('number', number::int, 'at', step->'at', 'before', b, 'after', a) AS pair
      FROM jsonb_array_elements(after) WITH ORDINALITY AS l (a, n)
      FULL JOIN jsonb_array_elements(before) WITH ORDINALITY AS r (b, m)
        ON a->'kind' = b->'kind' AND a->'object' = b->'object'
      WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(was) AS w
               WHERE w->'kind' = coalesce(a, b)->'kind' AND w->'address' = coalesce(a, b)->'address')
      -- What others have touched meanwhile and rolled back is not ours.
      AND (a IS DISTINCT FROM b OR (named || scanned) @> jsonb_build_array(jsonb_build_array(a->'classid', a->'objid')))
      ORDER BY n, m) AS x;
    FOR item IN SELECT e FROM jsonb_array_elements(was) AS e LOOP
      EXECUTE q->>'oid' INTO object USING item;
      also := jsonb_build_array(jsonb_build_array((item->>'classid')::bigint, object::bigint));
      {{describe: also => now_there}}
      found := jsonb_build_array(jsonb_build_object('number', number::int, 'at', step->'at', 'before',
        CASE WHEN item ? 'absent' THEN 'null' ELSE item END, 'after', now_there->0)) || found;
    END LOOP;
    objects := objects || found;
    IF mode = 'compare' AND builds @> (step->'at') THEN
      EXECUTE q->>'uses' INTO item USING to_regclass(name)::oid;
      uses := uses || jsonb_build_object(step->>'at', item);
    END IF;
  END LOOP;

  IF mode = 'compare' AND refusal IS NULL THEN
    -- What the indexes of views that do not exist yet will look like.
    FOR item IN SELECT e FROM jsonb_array_elements(input->'indexes') AS e LOOP
      prelude := ''; one := item->>'table';
      {{look: object := pg_catalog.to_regclass(one);}}
      IF EXISTS (SELECT FROM jsonb_array_elements(objects) AS e WHERE e->>'before' IS NULL
             AND e->'after'->>'kind' = 'materialized view' AND to_regclass(e->'after'->>'address') = object) THEN
        {{run: item->>'sql'}}
        SELECT future || jsonb_build_object('number', item->'number', 'object', format('%I.%I', n.nspname, c.relname),
          'definition', pg_get_indexdef(c.oid)) INTO future
        FROM pg_class AS t JOIN pg_class AS c ON c.relnamespace = t.relnamespace JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE t.oid = object AND c.relname = item->>'name';
      END IF;
    END LOOP;
  END IF;
  IF mode = 'compare' THEN
    IF refusal IS NULL THEN
      -- What the objects have that no script asks for: stripped of everything, what do the scripts give them?
      SELECT coalesce(jsonb_agg(DISTINCT p.pair), '[]') INTO pairs FROM (
        SELECT jsonb_build_array((a->>'classid')::bigint, CASE a->>'kind' WHEN 'type' THEN to_regtype(a->>'address')::oid
          WHEN 'view' THEN to_regclass(a->>'address')::oid WHEN 'materialized view' THEN to_regclass(a->>'address')::oid
          ELSE to_regprocedure(a->>'address')::oid END::bigint) AS pair
        FROM jsonb_array_elements(objects) AS e, LATERAL (SELECT e->'after' AS a) AS x
        WHERE a->>'kind' IN ('function', 'procedure', 'aggregate', 'view', 'materialized view', 'type')
        AND pg_has_role((a->>'owner')::name, 'USAGE')) AS p
      WHERE p.pair->>1 IS NOT NULL;
      {{describe: pairs => present}}
      BEGIN
        FOR item IN SELECT e FROM jsonb_array_elements(pairs) AS e LOOP
          EXECUTE q->>'revokes' INTO one USING (item->>0)::oid, (item->>1)::oid;
          IF one IS NOT NULL THEN
            {{ddl: one}}
          END IF;
          EXECUTE q->>'bare' INTO one USING (item->>0)::oid, (item->>1)::oid;
          {{ddl: one}}
        END LOOP;
        FOR step IN SELECT e FROM jsonb_array_elements(input->'steps') AS e LOOP
          name := names->>(step->>'at');
          {{run: CASE WHEN step->>'kind' = 'script' THEN step->>'text'
            WHEN to_regclass(name) IS NULL AND to_regtype(name) IS NULL THEN concat(step->>'head', name, step->>'body',
              CASE WHEN step->>'kind' = 'materialized view' THEN ' WITH NO DATA' END, ';', step->>'tail')
            ELSE step->>'rest' END}}
        END LOOP;
        {{describe: pairs => asked}}
        RAISE EXCEPTION USING ERRCODE = 'VM000';
      EXCEPTION WHEN SQLSTATE 'VM000' THEN
        NULL;
      END;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'VM000';
  ELSIF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = '55006',
      MESSAGE = format('the database has changed meanwhile (%s); run it again', refusal->>'message');
  END IF;
 EXCEPTION WHEN SQLSTATE 'VM000' THEN
  NULL;
 END;
 EXECUTE q->>'leftovers' INTO found;
 PERFORM set_config('vtchat_maintenance.result', jsonb_build_object('objects', objects, 'refusal', refusal, 'builds', builds,
   'present', present, 'asked', asked, 'future', future, 'leftovers', found, 'logged', logged, 'uses', uses)::text, false);
END
"""


# In scripts after each statement that may set something.
LIMITS = "/*vtchat.maintenance limits*/"
_LEFT = "greatest(1, limit_ms - 1000 * extract(epoch FROM clock_timestamp() - since))::int::text"

# Nothing between the first and the third statement is looked up by a name that a stranger could have taken.
_OURS = f"""EXECUTE 'RESET SESSION AUTHORIZATION';
EXECUTE 'RESET ALL';
PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
PERFORM set_config(s.key, s.value, false) FROM jsonb_each_text(session) AS s;
PERFORM set_config('role', users_role, false), set_config('search_path', 'pg_catalog, pg_temp', true),
  set_config('standard_conforming_strings', 'on', true), set_config('client_min_messages', 'error', true),
  set_config('lock_timeout', {_LEFT}, true);
IF pg_my_temp_schema() <> 0 THEN
  EXECUTE 'DISCARD TEMP';
END IF;"""

_USER = f"""PERFORM set_config('check_function_bodies', 'on', true), set_config('client_min_messages', 'warning', true),
  set_config('lock_timeout', {_LEFT}, true), set_config('search_path', path, true);"""

_RUN = f"""statement := replace({{}}, '{LIMITS}', format(
  'SET LOCAL lock_timeout = %L; SET LOCAL client_min_messages = warning;', {_LEFT}));
{_USER}
EXECUTE statement;
{_OURS}"""

# Statements of ours with nothing but names in them. Event triggers run in them, which may rely on the user's path.
_DDL = """statement := {};
PERFORM pg_catalog.set_config('search_path', names_path, true);
EXECUTE statement;
PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);"""

# What an object had: those with expressions in them were printed for our own path, and need it.
_GIVE = f"""IF {{}} ~ '^/[^/]*/(GRANT|COMMENT|REVOKE|SECURITY|ALTER [^;]* OWNER TO)' THEN
  {_DDL}
ELSE
  EXECUTE {{}};
END IF;"""

# A name in a script means what it would mean there.
_LOOK = f"""{_USER}
IF prelude OPERATOR(pg_catalog.<>) '' THEN
  EXECUTE prelude;
END IF;
{{}}
{_OURS}"""

_DESCRIBE = """described := {};
EXECUTE replace(q->>'describe', '<rows>', coalesce((SELECT string_agg(' UNION ALL ' || (c->>'rows'), '')
  FROM jsonb_array_elements(catalogs) AS c
  WHERE c->'class' IN (SELECT DISTINCT e->0 FROM jsonb_array_elements(described) AS e)), '')) INTO {} USING described;"""

_SCAN = """EXECUTE replace(q->>'{0}', '<scan>', coalesce((
  SELECT string_agg(' UNION ALL ' || replace(c->>'scan', '<mark>', '{1}'), '')
  FROM jsonb_array_elements(catalogs) AS c WHERE NOT counting OR pg_stat_get_xact_tuples_inserted((c->>'oid')::oid)
  + pg_stat_get_xact_tuples_updated((c->>'oid')::oid) + pg_stat_get_xact_tuples_deleted((c->>'oid')::oid) > 0), ''))
  INTO {2} USING lowest;"""

_INDEXES = """FOR item IN SELECT e FROM jsonb_array_elements(indexes) AS e LOOP
  EXECUTE format('/* vtchat.maintenance %s *//* of %s, index %s */ ', number,
      replace(replace(name, '*/', '* /'), '/*', '/ *'), replace(replace(item->>'name', '*/', '* /'), '/*', '/ *'))
    || format('CREATE %sINDEX %I ON %s %s', CASE WHEN (item->>'unique')::boolean THEN 'UNIQUE ' END,
      concat(step->>'built', ' ', item->>'oid'), built, item->>'tail');
END LOOP;"""

_REFUSE_EFFECTS = """IF mode = 'compare' THEN
  EXECUTE q->>'effects' INTO message USING tables, sequences, files, scanned, catalogs, logged, counting;
  IF message IS NOT NULL THEN
    refusal := jsonb_build_object('number', number, 'message', message);
    EXIT steps;
  END IF;
END IF;"""

_REFUSE_DEFINITIONS = """IF mode = 'compare' THEN
  EXECUTE q->>'undefinable' INTO item USING before, after;
  IF item IS NOT NULL THEN
    refusal := item || jsonb_build_object('number', number);
    EXIT steps;
  END IF;
END IF;"""


def _expand(match: re.Match[str]) -> str:
    """The text for a {{part}}, or {{part: with => something}}."""
    part, _colon, rest = match[1].partition(": ")
    one, _arrow, target = rest.partition(" => ")
    if part == "scan":
        during = one == "during"
        return _SCAN.format("scan_during" if during else "scan_undone", "xmin" if during else "xmax", target)
    if part == "describe":
        return _DESCRIBE.format(one, target)
    if part in ("run", "look", "ddl", "give"):
        return {"run": _RUN, "look": _LOOK, "ddl": _DDL, "give": _GIVE}[part].replace("{}", one)
    return {
        "ours": _OURS,
        "indexes": _INDEXES,
        "refuse effects": _REFUSE_EFFECTS,
        "refuse definitions": _REFUSE_DEFINITIONS,
    }[part]


PROGRAM = re.sub(r"\{\{(.*?)\}\}", _expand, _PROGRAM, flags=re.DOTALL)
