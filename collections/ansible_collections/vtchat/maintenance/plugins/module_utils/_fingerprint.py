# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Whether a materialized view can have other rows than at its last refresh, told from the catalog and from counters.

The fingerprint of a view is everything its rows are computed from: the definitions of the views it unfolds to, and for
every stored relation underneath its storage (TRUNCATE and rewrites give a new one) and PostgreSQL's counters of rows
inserted, updated and deleted. COPY counts as insert, a rolled-back change counts too. After a restart, a crash or a
reset of the statistics the counters mean nothing, so these moments are part of the fingerprint.

A session reports its counters only between transactions, at most once a second, and ten seconds after it went idle at
the latest. Equal fingerprints therefore prove something only when every other session has reported: see ``waiting``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _catalog
from ._driver import sql
from ._session import Session
from ._sql import display, parse_name, quote
from ._units import count, rows

FIRST_USER_OID = 16384  # smaller ones belong to PostgreSQL itself
FIRST_VERSION = 150000  # older servers report through a collector process, with no bound on the delay

# Seconds, constants of PostgreSQL (PGSTAT_MIN_INTERVAL, PGSTAT_IDLE_INTERVAL) with something added for timers that
# fire late.
REPORT_INTERVAL = 1.0 + 0.1
IDLE_INTERVAL = 10.0 + 1.0

# Nodes of a stored query that add nothing to what their functions and relations decide. Whatever is not listed makes
# the view untrackable: a node of a later version is not known to be harmless.
HARMLESS_NODES = (
    "AGGREF", "ALIAS", "ARRAYCOERCEEXPR", "ARRAYEXPR", "BOOLEANTEST", "BOOLEXPR", "CASEEXPR", "CASETESTEXPR", "CASEWHEN",
    "COALESCEEXPR", "COLLATEEXPR", "COMMONTABLEEXPR", "CONST", "CTECYCLECLAUSE", "CTESEARCHCLAUSE", "DISTINCTEXPR",
    "FIELDSELECT", "FROMEXPR", "FUNCEXPR", "GROUPINGFUNC", "GROUPINGSET", "JOINEXPR", "MINMAXEXPR", "NAMEDARGEXPR",
    "NULLIFEXPR", "NULLTEST", "OPEXPR", "PARAM", "QUERY", "RANGETBLENTRY", "RANGETBLFUNCTION", "RANGETBLREF", "RELABELTYPE",
    "ROWEXPR", "RTEPERMISSIONINFO", "SCALARARRAYOPEXPR", "SETOPERATIONSTMT", "SORTGROUPCLAUSE", "SUBLINK",
    "SUBSCRIPTINGREF", "TARGETENTRY", "VAR", "WINDOWCLAUSE", "WINDOWFUNC",
)  # fmt: skip

# bool, "char", name, int8, int2, int4, text, oid, json, bpchar, varchar, numeric, uuid, jsonb: no setting changes what
# their values look like as text, or what a text is as their value.
STEADY_TYPES = (16, 18, 19, 20, 21, 23, 25, 26, 114, 1042, 1043, 1700, 2950, 3802)

# Everybody else in this database who can change data. Row and lock are read at about the same time.
SESSIONS = """
SELECT coalesce(jsonb_agg(jsonb_build_object(
           'pid', a.pid, 'state', a.state,
           'idle_since', CASE WHEN a.state = 'idle' THEN extract(epoch FROM a.state_change) END,
           'transaction', (SELECT min(lock.id) FROM lock WHERE lock.pid = a.pid)) ORDER BY a.pid), '[]')
FROM pg_catalog.pg_stat_get_activity(NULL) AS a
WHERE a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
"""

# Every transaction holds the lock on its own virtual id, which never comes again, and everybody may see that.
LOCK = """
lock AS MATERIALIZED (
    SELECT pid, virtualxid AS id FROM pg_catalog.pg_locks
    WHERE locktype = 'virtualxid' AND mode = 'ExclusiveLock' AND granted
)"""

LOOK = """
WITH {lock} SELECT ({sessions}) AS sessions, extract(epoch FROM pg_catalog.clock_timestamp())::float8 AS now
"""

# The dependencies are read from the stored query and not from pg_depend, which leaves out what PostgreSQL itself
# brings: now() and the system catalogs. A materialized view below counts as a table.
FACTS = r"""
WITH RECURSIVE {targets},
tree AS (
    SELECT oid AS root, oid AS relid, kind FROM target WHERE kind = 'm'
    UNION
    SELECT tree.root, c.oid, c.relkind::text
    FROM tree CROSS JOIN LATERAL (
        SELECT found[1]::oid AS oid
        FROM pg_catalog.pg_rewrite AS r
            CROSS JOIN LATERAL pg_catalog.regexp_matches(r.ev_action::text, ':relid (\d+)', 'g') AS found
        WHERE r.ev_class = tree.relid AND r.ev_type = '1' AND (tree.kind = 'v' OR tree.relid = tree.root)
        UNION ALL
        SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = tree.relid
    ) AS below JOIN pg_catalog.pg_class AS c ON c.oid = below.oid
),
query AS MATERIALIZED (
    SELECT tree.root, r.ev_class AS relid, r.ev_action::text AS nodes
    FROM tree JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = tree.relid AND r.ev_type = '1'
    WHERE tree.kind = 'v' OR tree.relid = tree.root
),
called AS (
    SELECT query.root, found[1]::oid AS oid
    FROM query CROSS JOIN LATERAL
        pg_catalog.regexp_matches(nodes, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') AS found
    UNION
    SELECT called.root, part
    FROM called JOIN pg_catalog.pg_aggregate AS a ON a.aggfnoid = called.oid AND called.oid >= {first_user_oid}
        CROSS JOIN LATERAL unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn,
                                        aggminvtransfn, aggmfinalfn]::oid[]) AS part
    WHERE part <> 0
),
function AS (
    SELECT called.root, called.oid, coalesce(p.proname::text, called.oid::text) AS name, p.xmin::text AS version,
           coalesce(p.provolatile = 'i' AND (l.lanname IN ('internal', 'c') OR p.oid < {first_user_oid}), false) AS steady
    FROM called LEFT JOIN pg_catalog.pg_proc AS p ON p.oid = called.oid LEFT JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
),
node AS (
    SELECT DISTINCT root, found[1] AS kind
    FROM query CROSS JOIN LATERAL pg_catalog.regexp_matches(nodes, '\{{([A-Z_]+)', 'g') AS found
),
conversion AS (
    SELECT root, relid, count(*) AS total, (
        SELECT count(*)
        FROM pg_catalog.regexp_matches(
            nodes, '\{{COERCEVIAIO :arg \{{VAR [^{{}}]*:vartype (\d+) [^{{}}]*\}} :resulttype (\d+) ', 'g') AS f
        WHERE f[1]::int = ANY ({steady_types}) AND f[2]::int = ANY ({steady_types})
    ) AS steady
    FROM query CROSS JOIN LATERAL pg_catalog.regexp_matches(nodes, '\{{COERCEVIAIO ', 'g')
    GROUP BY root, relid, nodes
),
{lock}
SELECT target.*, c.relispopulated AS populated,
       EXISTS (
           SELECT FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
               JOIN pg_catalog.pg_am AS am ON am.oid = ic.relam
           WHERE i.indrelid = target.oid AND i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate
               AND i.indpred IS NULL AND i.indexprs IS NULL AND am.amname = 'btree'
       ) AS unique_index,
       jsonb_build_array(pg_catalog.pg_relation_filenode(target.oid)::bigint,
           pg_catalog.pg_stat_get_tuples_inserted(target.oid), pg_catalog.pg_stat_get_tuples_deleted(target.oid)) AS contents,
       (SELECT pg_catalog.hashtextextended(string_agg(part, ' ' ORDER BY part COLLATE "C"), 0)::text FROM (
            SELECT relid || nodes FROM query WHERE root = target.oid
            UNION ALL SELECT oid || ' ' || version FROM function WHERE root = target.oid AND oid >= {first_user_oid}
            UNION ALL SELECT d.adrelid || ' ' || d.adnum || ' ' || d.adbin::text
            FROM tree JOIN pg_catalog.pg_attribute AS a ON a.attrelid = tree.relid AND a.attgenerated = 'v'
                JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE tree.root = target.oid
        ) AS definition (part)) AS definition,
       (SELECT jsonb_agg(jsonb_build_object(
                   'oid', r.oid::bigint, 'schema', n.nspname, 'name', r.relname, 'kind', r.relkind,
                   'row_security', r.relrowsecurity,
                   'counters', jsonb_build_array(pg_catalog.pg_relation_filenode(r.oid)::bigint, r.relnatts,
                       pg_catalog.pg_stat_get_tuples_inserted(r.oid), pg_catalog.pg_stat_get_tuples_updated(r.oid),
                       pg_catalog.pg_stat_get_tuples_deleted(r.oid))) ORDER BY r.oid)
        FROM tree JOIN pg_catalog.pg_class AS r ON r.oid = tree.relid JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
        WHERE tree.root = target.oid AND tree.relid <> target.oid AND (r.relkind <> 'v' OR r.oid < {first_user_oid})
       ) AS relations,
       (SELECT jsonb_agg(DISTINCT name) FROM function WHERE root = target.oid AND NOT steady) AS functions,
       (SELECT jsonb_agg(kind ORDER BY kind) FROM node WHERE root = target.oid AND kind <> ALL ({harmless_nodes})
            AND NOT (kind = 'COERCEVIAIO' AND NOT EXISTS (
                SELECT FROM conversion WHERE conversion.root = target.oid AND total > steady))) AS nodes,
       EXISTS (SELECT FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS setting
               WHERE setting LIKE 'track\_counts=%' AND setting <> 'track_counts=on') AS uncounted,
       jsonb_build_array(
           extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text,
           extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time())::text,
           (SELECT coalesce(extract(epoch FROM pg_catalog.pg_stat_get_db_stat_reset_time(oid))::text, '')
            FROM pg_catalog.pg_database WHERE datname = current_database())) AS since,
       extract(epoch FROM pg_catalog.clock_timestamp())::float8 AS now,
       ({sessions}) AS sessions
FROM target LEFT JOIN pg_catalog.pg_class AS c ON c.oid = target.oid
ORDER BY target.position
"""

_NODE_REASONS = {
    "COERCEVIAIO": "converts to or from text in a way that settings can change",
    "NEXTVALUEEXPR": "reads a sequence",
    "SQLVALUEFUNCTION": "uses CURRENT_DATE, CURRENT_USER or the like",
    "TABLESAMPLECLAUSE": "uses TABLESAMPLE",
}
_KIND_REASONS = {"f": "reads the foreign table", "S": "reads the sequence"}


@dataclass(frozen=True)
class View:
    """One name that a refresh was asked for, and what the catalog says about it.

    target        the name for people, and in the history
    fault         why nothing can be refreshed under this name; the rest means nothing then
    unique_index  whether REFRESH ... CONCURRENTLY could use one
    names         oid of every stored relation underneath -> its name for people
    fingerprint   JSON-ready, to be compared with ``difference``
    obstacle      why a fingerprint says nothing about this view, "" if it does
    contents      storage and counters of the view itself: they tell whether somebody else has refreshed it
    now           the server's clock when this was read, seconds since the epoch
    """

    target: str
    relation: _catalog.Relation | None
    fault: str = ""
    populated: bool = False
    unique_index: bool = False
    names: Mapping[int, str] = field(default_factory=dict)
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    obstacle: str = ""
    contents: list[int] = field(default_factory=list)
    now: float = 0.0


@dataclass(frozen=True)
class Look:
    """The other sessions of this database at one moment of the server's clock."""

    sessions: list[dict[str, Any]]
    now: float

    @property
    def transactions(self) -> list[str]:
        """Virtual ids of the transactions that are open."""
        return [session["transaction"] for session in self.sessions if session["transaction"]]


def read(session: Session, names: Sequence[str]) -> tuple[list[View], Look]:
    """Everything about these views, and who else is here, in one turn. Locks nothing of the user's."""
    query = sql.SQL(FACTS).format(
        lock=sql.SQL(LOCK),
        sessions=sql.SQL(SESSIONS),
        targets=_catalog.targets(session.server, names),
        first_user_oid=sql.Literal(FIRST_USER_OID),
        harmless_nodes=sql.Literal(list(HARMLESS_NODES)),
        steady_types=sql.Literal(list(STEADY_TYPES)),
    )
    found = session.rows(query)
    views = [_view(session, name, row) for name, row in zip(names, found)]
    return views, Look(found[0]["sessions"], found[0]["now"])


def look(session: Session) -> Look:
    """Who else is here now."""
    row = session.row(sql.SQL(LOOK).format(lock=sql.SQL(LOCK), sessions=sql.SQL(SESSIONS)))
    return Look(row["sessions"], row["now"])


def _view(session: Session, name: str, row: dict[str, Any]) -> View:
    if row["oid"] is None:
        return View(str(parse_name(name)), None, str(_catalog.not_found(session, name, "m")))
    relation = _catalog.relation(row)
    if relation.kind != "m":
        return View(relation.display, relation, str(_catalog.wrong_kind(relation, "materialized view")))
    if not row["may_use_schema"]:
        return View(relation.display, relation, _catalog.schema_fault(session.server, relation))
    if not relation.may_maintain:
        grant = _catalog.maintain_grant(session.server, relation)
        return View(relation.display, relation, f"role {quote(session.server.user)} may not refresh it: {grant}")
    relations = row["relations"] or []
    fingerprint = {
        "view": relation.oid,
        "definition": row["definition"],
        "database": session.server.database_oid,
        "since": row["since"],
        "relations": [[below["oid"], *below["counters"]] for below in relations],
    }
    return View(
        target=relation.display,
        relation=relation,
        populated=row["populated"],
        unique_index=row["unique_index"],
        names={below["oid"]: display(below["schema"], below["name"]) for below in relations},
        fingerprint=fingerprint,
        obstacle=obstacle(row, session.server.version_num, session.server.track_counts),
        contents=row["contents"],
        now=row["now"],
    )


def obstacle(row: Mapping[str, Any], version_num: int, track_counts: bool) -> str:
    """Why no fingerprint can tell that this view is unchanged; "" if one can."""
    if version_num < FIRST_VERSION:
        return "PostgreSQL 14 may report changes too late to rely on"
    if not track_counts or row["uncounted"]:
        return "track_counts is off, so changes go uncounted"
    for below in row["relations"] or []:
        name = display(below["schema"], below["name"])
        if below["oid"] < FIRST_USER_OID:
            return f"its definition reads the system catalog {name}, whose changes are not tracked"
        if below["kind"] in _KIND_REASONS:
            return f"its definition {_KIND_REASONS[below['kind']]} {name}, whose changes are not counted here"
        if below["row_security"]:
            return f"its definition reads {name}, which has row-level security"
    for function in row["functions"] or []:
        return f"its definition calls {quote(function)}(), whose result can change by itself"
    for node in row["nodes"] or []:
        return "its definition " + _NODE_REASONS.get(
            node, f"has an expression of kind {node}, which may change by itself"
        )
    return ""


def difference(stored: Mapping[str, Any], present: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """What has changed between two fingerprints of a view, the most telling thing only; "" if nothing has."""
    if any(stored.get(key) != present[key] for key in ("view", "database")):
        return "it has been created anew since the last refresh"
    if stored.get("definition") != present["definition"]:
        return "its definition has changed since the last refresh, or that of something it uses"
    if stored.get("since") != present["since"]:
        return "the server's statistics began anew after the last refresh (restart, crash or reset)"
    before = {entry[0]: entry[1:] for entry in stored.get("relations", [])}
    after = {entry[0]: entry[1:] for entry in present["relations"]}
    if before.keys() != after.keys():
        new = sorted(names[oid] for oid in after.keys() - before.keys())
        gone = len(before.keys() - after.keys())
        return (
            f"it reads {', '.join(new)} since the last refresh"
            if new
            else f"it no longer reads {gone} of the tables it read"
        )
    changed = [oid for oid in after if before[oid] != after[oid]]
    if not changed:
        return ""
    more = f", and so have {len(changed) - 1} more" if len(changed) > 1 else ""
    oid = changed[0]
    return f"{names[oid]} has {_change(before[oid], after[oid])} since the last refresh{more}"


def _change(before: list[int], after: list[int]) -> str:
    """Both are storage, number of columns, rows inserted, updated, deleted."""
    if before[0] != after[0]:
        return "been truncated or rewritten"
    numbers = zip(before[2:], after[2:], ("inserted", "updated", "deleted"))
    changes = [(new - old, word) for old, new, word in numbers if new != old]
    if not changes:
        return "got other columns"
    (first, word), *others = changes
    more = "".join(f", {count(number)} {word}" for number, word in others)
    return f"changed ({rows(first)} {word}{more})"


def waiting(first: Look, now: Look, harmless: Collection[str]) -> list[dict[str, Any]]:
    """The sessions of the first look that may still hold counters of something committed before it.

    harmless: transactions that were open when the stored fingerprint was read; who is still in one of them has
    committed nothing since. A session has reported when it is gone, when it went idle late enough after the first look
    for the shortest interval between two reports to be over, or when it has been idle for the longest delay of a
    report. The latter is certain for every session that is found outside a transaction that long after the first look,
    whatever it has done in between: each time it went idle it reported or began to wait anew.
    """
    suspects = {session["pid"] for session in first.sessions}
    return [
        session
        for session in now.sessions
        if session["pid"] in suspects and session["transaction"] not in harmless and not _reported(session, first, now)
    ]


def _reported(session: Mapping[str, Any], first: Look, now: Look) -> bool:
    idle_since: float | None = session["idle_since"]
    if idle_since is not None:
        return idle_since - first.now >= REPORT_INTERVAL or now.now - idle_since >= IDLE_INTERVAL
    return session["transaction"] is None and now.now - first.now >= IDLE_INTERVAL
