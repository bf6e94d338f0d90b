# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.
"""The program that runs scripts on the server, composed of named fragments.

It runs there in one statement, so that nothing it locks on the way stays locked while an answer travels: what is tried
out is undone by the same statement. Three modes:

compare  try all scripts out, say what each object is before and after, and undo everything
build    build one materialized view beside the old one, which can be read meanwhile
apply    try each script out as in compare, and run it once more if it makes a difference; that stays

What holds, and has to go on holding:

1. A script runs in {{run}}, with the user's settings and search_path. Everything else runs with our own, in which an
   unqualified name means one of pg_catalog (see macros). Nothing of ours stands between EXECUTE of a script and {{ours}}.
2. Transaction ids tell which objects a script wrote. Its trial is a subtransaction. An id counts if it is at least
   ``lowest_number``, the smallest of our ids that are in progress after the script and were not before it: that of the trial,
   or of a subtransaction of the script's own. During the trial such ids are in xmin of what was written. After it they are
   aborted, and in xmax of what was removed or replaced. Others may have aborted ids as large; what they touched has not
   changed, and COMPARE_PAIRS leaves it out.
3. SQLSTATE VM000 undoes a block, and is raised by {{undo}} alone: the twin of a definition (TRY_TWIN), the trial of a script
   (TRY_SCRIPT), the stripping of objects (DRIFT), and in compare everything. A script that raises it itself is told apart by
   ``finished``, and fails like any other.
4. A refusal is an answer and no error: it is set in ``refusal`` and ends the loop over the steps. In apply, where compare has
   refused nothing, it can only mean that somebody has changed something since, and an error undoes everything.
5. A comparison keeps no lock. Locks are waited for ``limit_ms`` in all, from ``since`` on. What takes long, to fill a view and
   to build its indexes, comes before the first lock that keeps readers waiting; ``since`` is set anew after it.
6. Rows, files and numbers of sequences are not in the catalogs: ``tables``, ``files`` and ``sequences`` tell of them while the
   trial is under way, and in compare EFFECTS refuses the script.
7. An object that has to make way is dropped once, and GIVE_BACK returns what it had before the script says anything of
   privileges or comments: at once for a materialized view, by running the script once more for others (``repeat_script``).
"""

from __future__ import annotations

import re

from . import attempt, endings, steps
from .macros import LIMITS, MACROS

__all__ = ["BEGIN", "FRAGMENTS", "LIMITS", "PROGRAM"]

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

DECLARATIONS = """
-- What was given, and the session as it was
input constant jsonb := convert_from(decode(current_setting('vtchat_maintenance.input'), 'base64'), 'UTF8');
q constant jsonb := input->'queries';
mode constant text := input->>'mode';
path constant text := current_setting('vtchat_maintenance.path');
limit_ms constant float := input->>'lock_ms';
counting constant boolean := current_setting('track_counts');
users_role constant text := current_setting('role');
session constant jsonb := (SELECT jsonb_object_agg(s.name, s.setting) FROM pg_settings AS s WHERE s.source = 'session'
  AND s.name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable'));
catalogs jsonb; logged jsonb; names_path text; since timestamptz := clock_timestamp();
-- The answer
objects jsonb := '[]'; builds jsonb := '[]'; uses jsonb := '{}'; refusal jsonb; future jsonb := '[]';
present jsonb := '[]'; asked jsonb := '[]'; leftovers jsonb;
-- The step: names are quoted. trial, built: under which a definition is tried out, and built beside the old object
step jsonb; number text; prelude text := ''; script text; final text; repeat_script boolean;
schema_name text; place text; name text; trial text; built text; names jsonb := '{}'; named jsonb; about text;
-- The object that is in the way, old if it is the one that the step defines, and what it and its dependents had
class oid; old oid; object oid; relation_kind text; is_new boolean; conflict text; replaced jsonb; twin jsonb; parts jsonb;
dependents jsonb; others jsonb; indexes jsonb; built_indexes jsonb; belongings jsonb; give_back jsonb; returned text;
-- The attempt: numbers of transactions, pairs [class, object], descriptions
tries int; finished boolean; lowest_number bigint; numbers_before bigint[]; numbers_during bigint[];
tables oid[]; sequences oid[]; files jsonb; scanned jsonb; always_described jsonb; pairs jsonb; described jsonb;
rows_of text; kinds_of text;
before jsonb; after jsonb; known_before jsonb; now_there jsonb; compared jsonb; refused jsonb; used jsonb;
statement text; address text; message text; hint text;
-- Of loops
dependent jsonb; old_index jsonb; belonging jsonb; earlier jsonb; wanted_index jsonb; stripped jsonb;
"""

STEPS = """
<< steps >>
FOR step IN SELECT e FROM jsonb_array_elements(input->'steps') AS e LOOP
  {{BEGIN_STEP}}
  IF step->>'kind' = 'materialized view' THEN
    {{VIEW_STEP}}
  ELSIF step->>'kind' = 'type' THEN
    {{TYPE_STEP}}
  END IF;
  {{NAMED}}
  always_described := named; tries := 0;
  << attempt >>
  LOOP
    tries := tries + 1;
    IF conflict IS NOT NULL THEN
      {{MAKE_WAY}}
    END IF;
    {{TRY_SCRIPT}}
    {{LOOK_BACK}}
    EXIT attempt;
  END LOOP;
  {{REFUSE}}
  {{INSTALL}}
  {{COMPARE_PAIRS}}
END LOOP;
"""

WHOLE = """
#variable_conflict use_variable
DECLARE
  {{DECLARATIONS}}
BEGIN
  EXECUTE q->>'catalogs' INTO catalogs;
  EXECUTE q->>'logged' INTO logged;
  names_path := CASE WHEN logged IS NULL THEN 'pg_catalog, pg_temp'
    ELSE concat_ws(', ', 'pg_catalog', nullif(path, ''), 'pg_temp') END;
  {{ours}}
  BEGIN
    {{STEPS}}
    IF mode = 'compare' THEN
      IF refusal IS NULL THEN
        {{FUTURE_INDEXES}}
        {{DRIFT}}
      END IF;
      {{undo}}
    ELSIF refusal IS NOT NULL THEN
      RAISE EXCEPTION USING ERRCODE = '55006',
        MESSAGE = format('the database has changed meanwhile (%s); run it again', refusal->>'message');
    END IF;
  EXCEPTION WHEN SQLSTATE 'VM000' THEN
    NULL;
  END;
  EXECUTE q->>'leftovers' INTO leftovers;
  PERFORM set_config('vtchat_maintenance.result', jsonb_build_object('objects', objects, 'refusal', refusal, 'builds', builds,
    'present', present, 'asked', asked, 'future', future, 'leftovers', leftovers, 'logged', logged, 'uses', uses)::text, false);
END
"""

FRAGMENTS = {
    "DECLARATIONS": DECLARATIONS,
    "STEPS": STEPS,
    **steps.FRAGMENTS,
    **attempt.FRAGMENTS,
    **endings.FRAGMENTS,
}


def _composed(text: str) -> str:
    """A text with its {{FRAGMENTS}} and {{macros: argument => target}} in their places."""
    return re.sub(r"\{\{(.*?)\}\}", _expanded, text.strip(), flags=re.DOTALL)


def _expanded(match: re.Match[str]) -> str:
    name, _colon, rest = match[1].partition(": ")
    if name in FRAGMENTS:
        return _composed(FRAGMENTS[name])
    argument, _arrow, target = rest.partition(" => ")
    return MACROS[name].replace("{argument}", argument).replace("{target}", target)


PROGRAM = _composed(WHOLE)
