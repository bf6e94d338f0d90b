# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.
"""What the program does again and again: written once, and put in its places as ``{{name: argument => variable}}``.

A script may set whatever it likes, its role and search_path included. None of that reaches our own statements or the next
script: OURS follows each text of a script, and every operator and function of ours before it is one of pg_catalog by
name. The limits on waiting for locks are ours in scripts, too (LIMITS).
"""

from __future__ import annotations

# In scripts after each statement that may set something.
LIMITS = "/*vtchat.maintenance limits*/"
# Milliseconds that locks may still be waited for.
_LEFT = "greatest(1, limit_ms - 1000 * extract(epoch FROM clock_timestamp() - since))::int::text"

# {{ours}}: the session is ours again. Nothing between its first and its third statement is looked up by a name that a
# stranger could have taken.
OURS = f"""EXECUTE 'RESET SESSION AUTHORIZATION';
EXECUTE 'RESET ALL';
PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
PERFORM set_config(s.key, s.value, false) FROM jsonb_each_text(session) AS s;
PERFORM set_config('role', users_role, false), set_config('search_path', 'pg_catalog, pg_temp', true),
  set_config('standard_conforming_strings', 'on', true), set_config('client_min_messages', 'error', true),
  set_config('lock_timeout', {_LEFT}, true);
IF pg_my_temp_schema() <> 0 THEN
  EXECUTE 'DISCARD TEMP';
END IF;"""

# The session is the script's.
_USERS = f"""PERFORM set_config('check_function_bodies', 'on', true), set_config('client_min_messages', 'warning', true),
  set_config('lock_timeout', {_LEFT}, true), set_config('search_path', path, true);"""

# {{run: text}}: a text of a script, with what it needs.
RUN = f"""statement := replace({{argument}}, '{LIMITS}', format(
  'SET LOCAL lock_timeout = %L; SET LOCAL client_min_messages = warning;', {_LEFT}));
{_USERS}
EXECUTE statement;
{OURS}"""

# {{ddl: text}}: a statement of ours with nothing but names in it. Event triggers run in it, which may rely on the user's path.
DDL = """statement := {argument};
PERFORM pg_catalog.set_config('search_path', names_path, true);
EXECUTE statement;
PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);"""

# {{give: text}}: what an object had; those with expressions in them were printed for our own path, and need it.
GIVE = f"""IF {{argument}} ~ '^/[^/]*/(GRANT|COMMENT|REVOKE|SECURITY|ALTER [^;]* OWNER TO)' THEN
  {DDL}
ELSE
  EXECUTE {{argument}};
END IF;"""

# {{look: assignment}}: a name in a script means what it would mean there.
LOOK = f"""{_USERS}
IF prelude OPERATOR(pg_catalog.<>) '' THEN
  EXECUTE prelude;
END IF;
{{argument}}
{OURS}"""

# {{describe: pairs => variable}}: objects in the server's own words. Planning the query takes longer than anything else here:
# it consists of what is needed for the catalogs of these objects.
DESCRIBE = """described := {argument};
IF described = '[]' THEN
  {target} := '[]';
ELSE
  SELECT string_agg(e.rows, '') FILTER (WHERE e.rows IS NOT NULL), string_agg(DISTINCT e.kind, ' UNION ALL ')
  INTO rows_of, kinds_of FROM (
    SELECT ' UNION ALL ' || (c->>'rows') AS rows, CASE WHEN c->'oid' = c->'class' THEN
      coalesce(q->'kinds'->>(c->>'name'), q->'kinds'->>'others') END AS kind
    FROM jsonb_array_elements(catalogs) AS c
    WHERE c->'class' IN (SELECT p->0 FROM jsonb_array_elements(described) AS p)) AS e;
  EXECUTE replace(replace(q->>'describe', '<rows>', coalesce(rows_of, '')), '<kinds>',
    coalesce(kinds_of, q->'kinds'->>'others')) INTO {target} USING described;
END IF;"""

# {{scan: during => variable}}, {{scan: undone => variable}}: which objects were written.
SCAN = """EXECUTE replace(q->>'scan_{argument}', '<scan>', coalesce((
  SELECT string_agg(' UNION ALL '
    || replace(c->>'scan', '<mark>', CASE '{argument}' WHEN 'during' THEN 'xmin' ELSE 'xmax' END), '')
  FROM jsonb_array_elements(catalogs) AS c WHERE NOT counting OR pg_stat_get_xact_tuples_inserted((c->>'oid')::oid)
  + pg_stat_get_xact_tuples_updated((c->>'oid')::oid) + pg_stat_get_xact_tuples_deleted((c->>'oid')::oid) > 0), ''))
  INTO {target} USING lowest_number;"""

# {{undo}}: leave the block that this stands in, undone.
UNDO = "RAISE EXCEPTION USING ERRCODE = 'VM000';"

MACROS = {
    "ours": OURS,
    "run": RUN,
    "ddl": DDL,
    "give": GIVE,
    "look": LOOK,
    "describe": DESCRIBE,
    "scan": SCAN,
    "undo": UNDO,
}
