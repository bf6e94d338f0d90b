# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.
"""How a script is tried out, and installed if it makes a difference."""

from __future__ import annotations

# Whether the object may go: what depends on it must be views, which can be made anew, and that must be wanted.
ASK_LEAVE = """
EXECUTE q->>'dependents' INTO dependents, others USING class, object;
{{describe: jsonb_build_array(jsonb_build_array(class::bigint, object::bigint)) => replaced}}
is_new := coalesce(step->>'kind' = 'materialized view' AND object = old, false);
IF jsonb_array_length(others) > 0 OR input->>'on_conflict' <> 'recreate'
 AND (NOT is_new OR jsonb_array_length(dependents) > 0) THEN
  refusal := jsonb_build_object('number', number, 'conflict', true, 'object', replaced->0->>'object',
    'message', conflict, 'others', others, 'parts', parts,
    'views', (SELECT coalesce(jsonb_agg('view ' || (e->>'name')), '[]') FROM jsonb_array_elements(dependents) AS e));
  EXIT steps;
END IF;
known_before := known_before || CASE WHEN is_new OR step->>'kind' = 'type' AND coalesce(object = old, false)
  THEN '[]' ELSE replaced END;
"""

# Drop the object and the views that depend on it, and remember what they had.
MAKE_WAY = """
{{ASK_LEAVE}}
FOR dependent IN SELECT e FROM jsonb_array_elements(dependents) AS e LOOP
  EXECUTE q->>'belongings' INTO belongings USING 'pg_class'::regclass::oid, (dependent->>'oid')::oid;
  give_back := give_back || jsonb_build_object('statement', dependent->>'create') || belongings;
END LOOP;
EXECUTE q->>'belongings' INTO belongings USING class, object;
IF is_new THEN
  {{BUILD_SUCCESSOR}}
END IF;
PERFORM set_config('lock_timeout',
  greatest(1, limit_ms - 1000 * extract(epoch FROM clock_timestamp() - since))::int::text, true);
FOR dependent IN SELECT e FROM jsonb_array_elements(dependents) WITH ORDINALITY AS a (e, n) ORDER BY n DESC LOOP
  {{ddl: about || format('DROP VIEW %s', dependent->>'name')}}
END LOOP;
IF is_new THEN
  {{SUCCEED}}
ELSE
  {{ddl: format('/* vtchat.maintenance %s */DROP %s %s', number, CASE WHEN class = 'pg_proc'::regclass THEN 'ROUTINE'
    WHEN class = 'pg_type'::regclass THEN 'TYPE' ELSE 'VIEW' END, replaced->0->>'address')}}
  repeat_script := true;
END IF;
give_back := belongings || give_back;
conflict := NULL; always_described := named;
IF is_new THEN  -- before the rest of the script, which has the last word
  {{GIVE_BACK}}
  give_back := '[]';
END IF;
"""

# A view that was built beside takes the place of the old one if that has the same indexes as then. Otherwise it is built now,
# which may take long, and only then does the time for locks begin.
BUILD_SUCCESSOR = """
EXECUTE q->>'indexes' INTO indexes USING old;
about := format('/* vtchat.maintenance %s *//* of %s */ ', number, replace(replace(name, '*/', '* /'), '/*', '/ *'));
IF (step->>'ready')::boolean AND mode = 'apply' THEN
  EXECUTE q->>'indexes' INTO built_indexes USING to_regclass(built)::oid;
  IF (SELECT array_agg(concat(step->>'built', ' ', e->>'oid', e->>'tail') ORDER BY 1)
      FROM jsonb_array_elements(indexes) AS e)
   IS DISTINCT FROM
   (SELECT array_agg(concat(e->>'name', e->>'tail') ORDER BY 1) FROM jsonb_array_elements(built_indexes) AS e) THEN
    RAISE EXCEPTION USING ERRCODE = '55006',
      MESSAGE = format('the indexes of %s have changed while its replacement was being built; run it again', name);
  END IF;
ELSE
  {{run: concat(step->>'head', built, step->>'body', CASE WHEN mode = 'compare' THEN ' WITH NO DATA'
    WHEN (SELECT relispopulated FROM pg_class WHERE oid = old) THEN '' ELSE step->>'with' END, step->>'pad')}}
  {{BUILD_INDEXES}}
  since := clock_timestamp();
END IF;
"""

SUCCEED = """
{{ddl: about || format('DROP MATERIALIZED VIEW %s', name)}}
{{ddl: about || format('COMMENT ON MATERIALIZED VIEW %s IS NULL', built)}}
{{ddl: about || format('ALTER MATERIALIZED VIEW %s RENAME TO %I', built, step->>'name')}}
FOR old_index IN SELECT e FROM jsonb_array_elements(indexes) AS e LOOP
  {{ddl: about || format('ALTER INDEX %s%I RENAME TO %I', place, concat(step->>'built', ' ', old_index->>'oid'),
    old_index->>'name')}}
  IF old_index->>'comment' IS NOT NULL THEN
    {{ddl: format('COMMENT ON INDEX %s%I IS %L', place, old_index->>'name', old_index->>'comment')}}
  END IF;
  IF (old_index->>'clustered')::boolean THEN
    {{ddl: format('ALTER MATERIALIZED VIEW %s CLUSTER ON %I', name, old_index->>'name')}}
  END IF;
END LOOP;
"""

# Give objects made anew what those before them had. A column that is gone takes with it what was about it.
GIVE_BACK = """
FOR belonging IN SELECT e FROM jsonb_array_elements(give_back) AS e LOOP
  EXECUTE q->>'oid' INTO object USING belonging;
  IF (belonging->>'revoke')::boolean THEN
    EXECUTE q->>'revokes' INTO returned USING (belonging->>'classid')::oid, object;
  ELSIF belonging->>'column' IS NULL OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = object
      AND attname = belonging->>'column' AND NOT attisdropped) THEN
    returned := belonging->>'statement';
  ELSE
    returned := NULL;
  END IF;
  IF returned IS NOT NULL THEN
    {{give: format('/* vtchat.maintenance %s */', number) || returned}}
  END IF;
END LOOP;
"""

# Run the script, see what it has written, and undo it. CREATE OR REPLACE may find that an object has to go first.
TRY_SCRIPT = """
after := '[]'; before := '[]'; scanned := '[]'; files := '[]'; lowest_number := NULL; finished := false;
BEGIN
  EXECUTE q->>'own' INTO numbers_before;
  {{run: script}}
  EXECUTE q->>'rows' INTO tables USING counting;
  EXECUTE q->>'advanced' INTO sequences;
  EXECUTE q->>'own' INTO numbers_during;
  SELECT min(n) INTO lowest_number FROM unnest(numbers_during) AS n WHERE n <> ALL (numbers_before);
  IF lowest_number IS NOT NULL THEN
    {{scan: during => scanned}}
    EXECUTE q->>'files' INTO files USING scanned;
  END IF;
  {{describe: always_described || scanned => after}}
  finished := true;
  {{undo}}
EXCEPTION
  WHEN SQLSTATE 'VM000' THEN
    IF NOT finished THEN
      RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = SQLERRM;  -- the script's own
    END IF;
  WHEN invalid_function_definition OR invalid_table_definition THEN
    {{FIND_CONFLICT}}
END;
CONTINUE attempt WHEN conflict IS NOT NULL;
"""

# Which object CREATE OR REPLACE cannot replace: the server names a function in its hint, and the view is the script's only one.
FIND_CONFLICT = """
GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
object := NULL;
IF SQLSTATE = '42P13' THEN
  class := 'pg_proc'::regclass;
  address := substring(hint FROM 'DROP (?:FUNCTION|PROCEDURE|AGGREGATE|ROUTINE) (.*\\))');
  {{look: object := pg_catalog.to_regprocedure(address);}}
ELSE
  class := 'pg_class'::regclass;
  SELECT min(v) INTO address FROM jsonb_array_elements_text(step->'views') AS v HAVING count(*) = 1;
  {{look: object := pg_catalog.to_regclass(address);}}
  SELECT min(c.oid::bigint)::oid INTO object FROM pg_class AS c WHERE c.oid = object AND c.relkind = 'v';
END IF;
IF object IS NULL OR tries > 9 THEN
  RAISE;
END IF;
conflict := message;
"""

# The same objects as they are without the script. What has only lost something, such as its comment, bears no new number:
# it is found now, and looked at in one more attempt.
LOOK_BACK = """
pairs := '[]';
IF lowest_number IS NOT NULL THEN
  {{scan: undone => pairs}}
END IF;
{{describe: always_described || scanned || pairs => before}}
SELECT coalesce(jsonb_agg(jsonb_build_array(e->'classid', e->'objid')), '[]') INTO pairs
FROM jsonb_array_elements(before) AS e
WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(after) AS a
         WHERE a->'classid' = e->'classid' AND a->'objid' = e->'objid');
IF pairs <> '[]' AND always_described = named THEN
  always_described := named || pairs;
  CONTINUE attempt;
END IF;
"""

REFUSE = """
IF mode = 'compare' THEN
  EXECUTE q->>'undefinable' INTO refused USING before, after;
  IF refused IS NOT NULL THEN
    refusal := refused || jsonb_build_object('number', number);
    EXIT steps;
  END IF;
  EXECUTE q->>'effects' INTO message USING tables, sequences, files, scanned, catalogs, logged, counting;
  IF message IS NOT NULL THEN
    refusal := jsonb_build_object('number', number, 'message', message);
    EXIT steps;
  END IF;
END IF;
"""

INSTALL = """
IF before IS DISTINCT FROM after THEN
  {{run: final}}
END IF;
{{GIVE_BACK}}
IF repeat_script THEN  -- what the script says of privileges and comments has the last word
  script := CASE WHEN step->>'kind' = 'script' THEN script ELSE step->>'rest' END;
  {{run: script}}
END IF;
"""

# Each object before and after. What was dropped and made anew is compared with what it was in the beginning.
COMPARE_PAIRS = """
SELECT coalesce(jsonb_agg(x.pair), '[]') INTO compared FROM (
  SELECT jsonb_build_object('number', number::int, 'at', step->'at', 'before', b, 'after', a) AS pair
  FROM jsonb_array_elements(after) WITH ORDINALITY AS l (a, n)
  FULL JOIN jsonb_array_elements(before) WITH ORDINALITY AS r (b, m)
    ON a->'kind' = b->'kind' AND a->'object' = b->'object'
  WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(known_before) AS w
           WHERE w->'kind' = coalesce(a, b)->'kind' AND w->'address' = coalesce(a, b)->'address')
  -- What others have touched meanwhile and rolled back is not ours.
  AND (a IS DISTINCT FROM b OR (named || scanned) @> jsonb_build_array(jsonb_build_array(a->'classid', a->'objid')))
  ORDER BY n, m) AS x;
FOR earlier IN SELECT e FROM jsonb_array_elements(known_before) AS e LOOP
  EXECUTE q->>'oid' INTO object USING earlier;
  {{describe: jsonb_build_array(jsonb_build_array((earlier->>'classid')::bigint, object::bigint)) => now_there}}
  compared := jsonb_build_array(jsonb_build_object('number', number::int, 'at', step->'at', 'before',
    CASE WHEN earlier ? 'absent' THEN 'null' ELSE earlier END, 'after', now_there->0)) || compared;
END LOOP;
objects := objects || compared;
IF mode = 'compare' AND builds @> (step->'at') THEN
  EXECUTE q->>'uses' INTO used USING to_regclass(name)::oid;
  uses := uses || jsonb_build_object(step->>'at', used);
END IF;
"""

FRAGMENTS = {
    "ASK_LEAVE": ASK_LEAVE,
    "MAKE_WAY": MAKE_WAY,
    "BUILD_SUCCESSOR": BUILD_SUCCESSOR,
    "SUCCEED": SUCCEED,
    "GIVE_BACK": GIVE_BACK,
    "TRY_SCRIPT": TRY_SCRIPT,
    "FIND_CONFLICT": FIND_CONFLICT,
    "LOOK_BACK": LOOK_BACK,
    "REFUSE": REFUSE,
    "INSTALL": INSTALL,
    "COMPARE_PAIRS": COMPARE_PAIRS,
}
