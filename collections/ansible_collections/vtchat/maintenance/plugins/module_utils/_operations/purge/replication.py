# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Tables that are published, and of which the server would refuse a DELETE or UPDATE in the middle of the work.

The rules are those of CheckCmdReplicaIdentity() and RelationBuildPublicationDesc() in the server's source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..._postgres.driver import sql
from ..._postgres.names import quote
from ..._postgres.session import Session

# What version 14 does not have is asked for through JSON: row filters, column lists; publications of schemas by their table.
SCHEMAS = "SELECT p.pnpubid AS pub, p.pnnspid AS schema FROM pg_publication_namespace AS p"
NO_SCHEMAS = "SELECT NULL::oid AS pub, NULL::oid AS schema WHERE false"
SCHEMAS_SINCE = 150000

# changed: each table that has rows, with its ancestors; named: where a publication names it or one of those. publish_as: the
# table by which its changes are told, whose filter and column list hold.
QUERY = """
WITH changed AS (
    SELECT c.oid, c.relnamespace, c.relname, c.relreplident AS identity, w.deletes, 0 AS level, c.oid AS up
    FROM (SELECT oid, bool_or(deletes) AS deletes FROM (
              SELECT unnest({deletes}::oid[]) AS oid, true AS deletes UNION ALL SELECT unnest({updates}::oid[]), false
          ) AS x GROUP BY oid) AS w
    JOIN pg_class AS c ON c.oid = w.oid
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384
), up AS (
    SELECT * FROM changed
    UNION ALL
    SELECT c.oid, a.relnamespace, c.relname, c.identity, c.deletes, p.level::int, a.oid
    FROM changed AS c, LATERAL pg_partition_ancestors(c.oid) WITH ORDINALITY AS p (relid, level)
    JOIN pg_class AS a ON a.oid = p.relid WHERE a.oid <> c.oid
), schemas AS ({schemas}),
named AS (
    SELECT u.oid, u.up, u.level, p.oid AS pub, p.puballtables AS everything
    FROM up AS u JOIN pg_publication AS p ON CASE WHEN u.deletes THEN p.pubdelete ELSE p.pubupdate END
    WHERE p.puballtables AND u.level = 0
    OR EXISTS (SELECT FROM pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid = u.up)
    OR EXISTS (SELECT FROM schemas AS s WHERE s.pub = p.oid AND s.schema = u.relnamespace)
), published AS (
    SELECT DISTINCT ON (c.oid, p.oid) c.oid, c.relnamespace, c.relname, c.identity, c.deletes, p.pubname, to_jsonb(p) AS pub,
           n.everything, CASE WHEN p.pubviaroot THEN n.up ELSE c.oid END AS publish_as
    FROM changed AS c JOIN named AS n ON n.oid = c.oid JOIN pg_publication AS p ON p.oid = n.pub
    ORDER BY c.oid, p.oid, n.level DESC
), known AS (
    SELECT p.*, i.indexrelid, r.filter, r.listed,
           ARRAY(SELECT a.attname::text FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k (num)
                 JOIN pg_attribute AS a ON a.attrelid = p.oid AND a.attnum = k.num) AS key
    FROM published AS p
    LEFT JOIN pg_index AS i ON i.indrelid = p.oid AND i.indisvalid AND i.indimmediate
        AND CASE p.identity WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
    LEFT JOIN LATERAL (
        SELECT (SELECT array_agg(a.attname::text) FROM pg_attribute AS a WHERE a.attrelid = r.prrelid AND a.attnum IN (
                    SELECT m[1]::int2 FROM regexp_matches(to_jsonb(r) ->> 'prqual', ':varattno (\\d+)', 'g') AS m)) AS filter,
               (SELECT array_agg(a.attname::text) FROM pg_attribute AS a WHERE a.attrelid = r.prrelid
                AND to_jsonb(r) -> 'prattrs' @> to_jsonb(a.attnum)) AS listed
        FROM pg_publication_rel AS r WHERE r.prpubid = (p.pub ->> 'oid')::oid AND r.prrelid = p.publish_as AND NOT p.everything
    ) AS r ON true
)
SELECT format('%I.%I', n.nspname, k.relname) AS table, k.pubname::text AS publication, k.deletes, k.identity::text AS identity,
       k.indexrelid IS NULL AND k.identity <> 'f' AS nothing, k.key,
       k.identity <> 'f' AND NOT coalesce(k.filter, '{{}}') <@ k.key AS filtered,
       k.listed IS NOT NULL AND (k.identity = 'f' OR NOT k.key <@ k.listed) AS unlisted,
       k.pub ? 'pubgencols' AND EXISTS (
           SELECT FROM pg_attribute AS a WHERE a.attrelid = k.oid AND NOT a.attisdropped
           AND CASE WHEN k.identity = 'f' THEN a.attgenerated = 'v' OR a.attgenerated = 's' AND k.pub ->> 'pubgencols' <> 's'
                    ELSE a.attname = ANY (k.key) AND k.listed IS NULL AND a.attgenerated = 's' AND k.pub ->> 'pubgencols' <> 's'
               END) AS generated,
       (SELECT min(ic.relname::text) FROM pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid
        WHERE i.indrelid = k.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND NOT EXISTS (
            SELECT FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS x (num) LEFT JOIN pg_attribute AS a
                ON a.attrelid = i.indrelid AND a.attnum = x.num AND x.num <> 0 AND a.attnotnull WHERE a.attnum IS NULL)
        AND coalesce(k.filter, '{{}}') <@ ARRAY(
            SELECT a.attname::text FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS x (num)
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = x.num)) AS usable
FROM known AS k JOIN pg_namespace AS n ON n.oid = k.relnamespace
ORDER BY k.oid, k.pubname
"""


def fault(session: Session, deletes: Sequence[int], updates: Sequence[int]) -> str:
    """Why the server would refuse to change one of these tables, with the way out, or nothing. Oids of tables and partitions."""
    query = sql.SQL(QUERY).format(
        deletes=sql.Literal(list(deletes)),
        updates=sql.Literal(list(updates)),
        schemas=sql.SQL(SCHEMAS if session.server.version_num >= SCHEMAS_SINCE else NO_SCHEMAS),
    )
    for row in session.rows(query):
        told = _told(row)
        if told:
            return told
    return ""


def _told(row: dict[str, Any]) -> str:
    table, publication = row["table"], quote(row["publication"])
    change = "deletes" if row["deletes"] else "updates"
    if row["nothing"]:
        way = f"USING INDEX {quote(row['usable'])}" if row["usable"] else "FULL"
        more = "" if row["usable"] else ", or give it a primary key"
        return (f"the publication {publication} tells {change} of {table}, which has no replica identity, so the server refuses "
                f"them: ALTER TABLE {table} REPLICA IDENTITY {way}{more}")  # fmt: skip
    if row["filtered"]:
        return (f"the row filter of the publication {publication} has columns that are not in the replica identity of "
                f"{table}, so the server refuses {change}: ALTER TABLE {table} REPLICA IDENTITY FULL")  # fmt: skip
    if row["unlisted"]:
        key = ", ".join(map(quote, row["key"])) or "all"
        return (f"the publication {publication} leaves out columns of the replica identity of {table}, so the server "
                f"refuses {change}: publish these columns as well: {key}")  # fmt: skip
    if row["generated"]:
        return (f"the publication {publication} leaves out a generated column of the replica identity of {table}, so the "
                f"server refuses {change}: ALTER PUBLICATION {publication} SET (publish_generated_columns = stored)")  # fmt: skip
    return ""
