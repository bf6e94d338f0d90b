# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.
"""How a step begins: what a definition means, and whether what there is has to make way for it.

Afterwards ``script`` is the text to be tried out and ``final`` the one that stays. ``conflict`` says why ``object``, of the
catalog ``class``, has to go first.
"""

from __future__ import annotations

BEGIN_STEP = """
number := step->>'number'; prelude := step->>'prelude'; about := ''; parts := '[]';
script := step->>'text'; final := script;
known_before := '[]'; give_back := '[]'; conflict := NULL; repeat_script := false; old := NULL;
{{ours}}
IF step->>'kind' <> 'script' THEN
  {{look: schema_name := pg_catalog.current_schema();}}
  schema_name := coalesce(step->>'schema', schema_name);
  IF step->>'catalog' <> current_database() THEN
    refusal := jsonb_build_object('number', number, 'message',
      format('%s is not in this database: leave %I out', step->>'name', step->>'catalog'));
    EXIT steps;
  END IF;
  place := coalesce(quote_ident(schema_name) || '.', '');
  name := place || quote_ident(step->>'name');
  names := names || jsonb_build_object(step->>'at', name);
  trial := place || quote_ident(input->>'trial');
  built := place || quote_ident(step->>'built');
END IF;
"""

# Try the definition out under another name: how the server prints it, and what type it consists of. Then the old object.
TRY_TWIN = """
BEGIN
  {{run: concat(step->>'head', trial, step->>'body', CASE WHEN class = 'pg_class'::regclass THEN ' WITH NO DATA' END,
    step->>'pad')}}
  object := CASE WHEN class = 'pg_class'::regclass THEN to_regclass(trial)::oid ELSE to_regtype(trial)::oid END;
  {{describe: jsonb_build_array(jsonb_build_array(class::bigint, object::bigint)) => twin}}
  IF class = 'pg_type'::regclass THEN
    EXECUTE q->>'parts' INTO parts USING old, object;
  END IF;
  {{undo}}
EXCEPTION WHEN SQLSTATE 'VM000' THEN
  NULL;
END;
{{describe: jsonb_build_array(jsonb_build_array(class::bigint, old::bigint)) => known_before}}
"""

# A materialized view that is there stays, unless its definition is another one. One that is built beside is ready for apply.
VIEW_STEP = """
class := 'pg_class'::regclass;
SELECT c.oid, c.relkind INTO old, relation_kind FROM pg_class AS c WHERE c.oid = to_regclass(name);
IF old IS NOT NULL AND relation_kind <> 'm' THEN
  refusal := jsonb_build_object('number', number, 'message',
    format('there is another object with the name %s, which is no materialized view', name));
  EXIT steps;
END IF;
script := concat(step->>'head', name, step->>'body', ' WITH NO DATA;', step->>'tail');
final := CASE WHEN mode = 'compare' THEN script
  ELSE concat(step->>'head', name, step->>'body', step->>'with', ';', step->>'tail') END;
IF old IS NULL THEN
  {{NEW_VIEW}}
ELSE
  {{TRY_TWIN}}
  script := step->>'rest'; final := script;
  IF known_before->0->>'definition' IS DISTINCT FROM twin->0->>'definition' THEN
    IF mode = 'build' THEN
      {{BUILD_BESIDE}}
      CONTINUE steps;
    END IF;
    builds := builds || (step->'at');
    object := old;
    conflict := 'it has another definition';
  END IF;
END IF;
"""

NEW_VIEW = """
IF mode = 'build' THEN
  {{run: concat(step->>'head', built, step->>'body', step->>'with', step->>'pad')}}
  {{ddl: format('COMMENT ON MATERIALIZED VIEW %s IS %L', built, step->>'comment')}}
  CONTINUE steps;
END IF;
builds := builds || (step->'at');
IF mode = 'apply' AND (step->>'ready')::boolean THEN
  {{ddl: format('COMMENT ON MATERIALIZED VIEW %s IS NULL', built)}}
  {{ddl: format('ALTER MATERIALIZED VIEW %s RENAME TO %I', built, step->>'name')}}
  known_before := jsonb_build_array(jsonb_build_object('kind', 'materialized view', 'object', name, 'address', name,
    'classid', class::bigint, 'absent', true));
  script := step->>'rest'; final := script;
END IF;
"""

# One that is not filled stays so. Its indexes have names that nobody else has, until it takes the other one's place.
BUILD_BESIDE = """
{{run: concat(step->>'head', built, step->>'body', CASE WHEN (SELECT relispopulated FROM pg_class
  WHERE oid = old) THEN '' ELSE step->>'with' END, step->>'pad')}}
EXECUTE q->>'indexes' INTO indexes USING old;
{{BUILD_INDEXES}}
{{ddl: format('COMMENT ON MATERIALIZED VIEW %s IS %L', built, step->>'comment')}}
"""

# The comments tell in errors which index of which view is meant.
BUILD_INDEXES = """
FOR old_index IN SELECT e FROM jsonb_array_elements(indexes) AS e LOOP
  EXECUTE format('/* vtchat.maintenance %s *//* of %s, index %s */ ', number,
      replace(replace(name, '*/', '* /'), '/*', '/ *'), replace(replace(old_index->>'name', '*/', '* /'), '/*', '/ *'))
    || format('CREATE %sINDEX %I ON %s %s', CASE WHEN (old_index->>'unique')::boolean THEN 'UNIQUE ' END,
      concat(step->>'built', ' ', old_index->>'oid'), built, old_index->>'tail');
END LOOP;
"""

TYPE_STEP = """
class := 'pg_type'::regclass;
old := to_regtype(name);
script := concat(step->>'head', name, step->>'body', ';', step->>'tail'); final := script;
IF old IS NOT NULL THEN
  {{TRY_TWIN}}
  IF known_before->0->>'definition' IS DISTINCT FROM twin->0->>'definition' THEN
    object := old;
    conflict := 'it has another definition';
  ELSE
    script := step->>'rest'; final := script;
  END IF;
END IF;
"""

# What IF NOT EXISTS speaks of is described although nothing may have been written.
NAMED = """
SELECT coalesce(jsonb_agg(jsonb_build_array(n.class::bigint, n.oid::bigint)), '[]') INTO named FROM (
  SELECT 'pg_namespace'::regclass::oid AS class, oid FROM pg_namespace
  WHERE nspname IN (SELECT jsonb_array_elements_text(step->'schemas'))
  UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension
  WHERE extname IN (SELECT jsonb_array_elements_text(step->'extensions'))) AS n;
"""

FRAGMENTS = {
    "BEGIN_STEP": BEGIN_STEP,
    "TRY_TWIN": TRY_TWIN,
    "VIEW_STEP": VIEW_STEP,
    "NEW_VIEW": NEW_VIEW,
    "BUILD_BESIDE": BUILD_BESIDE,
    "BUILD_INDEXES": BUILD_INDEXES,
    "TYPE_STEP": TYPE_STEP,
    "NAMED": NAMED,
}
