# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.
"""What is looked at in the end of a comparison, when all scripts have been run."""

from __future__ import annotations

# What the indexes of views that do not exist yet will look like.
FUTURE_INDEXES = """
FOR wanted_index IN SELECT e FROM jsonb_array_elements(input->'indexes') AS e LOOP
  prelude := ''; address := wanted_index->>'table';
  {{look: object := pg_catalog.to_regclass(address);}}
  IF EXISTS (SELECT FROM jsonb_array_elements(objects) AS e WHERE e->>'before' IS NULL
         AND e->'after'->>'kind' = 'materialized view' AND to_regclass(e->'after'->>'address') = object) THEN
    {{run: wanted_index->>'sql'}}
    SELECT future || jsonb_build_object('number', wanted_index->'number', 'object', format('%I.%I', n.nspname, c.relname),
      'definition', pg_get_indexdef(c.oid)) INTO future
    FROM pg_class AS t JOIN pg_class AS c ON c.relnamespace = t.relnamespace JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE t.oid = object AND c.relname = wanted_index->>'name';
  END IF;
END LOOP;
"""

# What the objects have that no script asks for: stripped of everything, what do the scripts give them?
DRIFT = """
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
  FOR stripped IN SELECT e FROM jsonb_array_elements(pairs) AS e LOOP
    EXECUTE q->>'revokes' INTO returned USING (stripped->>0)::oid, (stripped->>1)::oid;
    IF returned IS NOT NULL THEN
      {{ddl: returned}}
    END IF;
    EXECUTE q->>'bare' INTO returned USING (stripped->>0)::oid, (stripped->>1)::oid;
    {{ddl: returned}}
  END LOOP;
  FOR step IN SELECT e FROM jsonb_array_elements(input->'steps') AS e LOOP
    name := names->>(step->>'at');
    {{run: CASE WHEN step->>'kind' = 'script' THEN step->>'text'
      WHEN to_regclass(name) IS NULL AND to_regtype(name) IS NULL THEN concat(step->>'head', name, step->>'body',
        CASE WHEN step->>'kind' = 'materialized view' THEN ' WITH NO DATA' END, ';', step->>'tail')
      ELSE step->>'rest' END}}
  END LOOP;
  {{describe: pairs => asked}}
  {{undo}}
EXCEPTION WHEN SQLSTATE 'VM000' THEN
  NULL;
END;
"""

FRAGMENTS = {"FUTURE_INDEXES": FUTURE_INDEXES, "DRIFT": DRIFT}
