# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How large the database and its tables were: a few rows for the history, written in the statement that closes a run.

Nothing here takes a lock on a table or opens one: whoever holds one for long would keep the run from being recorded. So a table
is as large as the last VACUUM, ANALYZE or CREATE INDEX has counted, and the database as its files are.
"""

from __future__ import annotations

# Of the database, and of its tables. Not more often, however often plans run.
OF_DATABASE, OF_TABLES = "55 minutes", "20 hours"
MOST_TABLES = 100
# Others' temporary tables are nobody's growth, and those of the server no application's.
_RELATIONS = """
    SELECT n.nspname, c.relname, c.relpages::bigint + coalesce(t.pages, 0) AS pages, i.pages AS index_pages,
           pg_stat_get_live_tuples(c.oid) AS live_rows, pg_stat_get_dead_tuples(c.oid) AS dead_rows, age(c.relfrozenxid) AS age
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (SELECT sum(x.relpages::bigint)::bigint AS pages FROM pg_class AS x
        WHERE x.oid = c.reltoastrelid OR x.oid IN (SELECT p.indexrelid FROM pg_index AS p WHERE p.indrelid = c.reltoastrelid)
    ) AS t ON c.reltoastrelid <> 0
    CROSS JOIN LATERAL (SELECT coalesce(sum(x.relpages::bigint), 0)::bigint AS pages FROM pg_index AS p
        JOIN pg_class AS x ON x.oid = p.indexrelid WHERE p.indrelid = c.oid) AS i
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
# A moment that is still to come was written while the clock was wrong.
_RECENT = """
    SELECT FROM maintenance.sample WHERE relation {} '' AND sampled_at <= clock_timestamp()
    AND sampled_at > clock_timestamp() - interval '{}'
"""
# The size of a database is told to who may connect to it, which a role that was taken on afterwards need not.
SAMPLES = f""", due AS MATERIALIZED (
    SELECT NOT EXISTS ({_RECENT.format("=", OF_DATABASE)}) AND (has_database_privilege(current_database(), 'CONNECT')
               OR pg_has_role('pg_read_all_stats', 'USAGE')) AS of_database,
           NOT EXISTS ({_RECENT.format("<>", OF_TABLES)}) AS of_tables, current_setting('block_size')::bigint AS page
), relations AS MATERIALIZED (
    SELECT * FROM ({_RELATIONS}) AS all_of_them WHERE (SELECT of_database OR of_tables FROM due)
), sampled AS (
    INSERT INTO maintenance.sample (run_id, relation, bytes, index_bytes, live_rows, dead_rows, freeze_age)
    SELECT %(run_id)s, '', pg_database_size(current_database()), r.index_bytes, r.live_rows, r.dead_rows,
           (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database())
    FROM due, (SELECT coalesce(sum(index_pages), 0) * (SELECT page FROM due) AS index_bytes,
                      coalesce(sum(live_rows), 0) AS live_rows, coalesce(sum(dead_rows), 0) AS dead_rows FROM relations) AS r
    WHERE due.of_database
    UNION ALL (
        SELECT %(run_id)s, format('%%I.%%I', nspname, relname), pages * due.page, index_pages * due.page,
               live_rows, dead_rows, age
        FROM relations, due WHERE due.of_tables ORDER BY pages + index_pages DESC, nspname, relname LIMIT {MOST_TABLES})
)"""
