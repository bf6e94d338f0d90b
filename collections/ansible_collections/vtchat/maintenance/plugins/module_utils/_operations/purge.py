# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""purge: delete the rows whose time has come, in batches that nobody notices."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from .. import _catalog
from .._action import CONTENDED, DEFERRED, FAILED, UNCHANGED, Action, Context, Outcome
from .._driver import sql
from .._errors import Contended, OptionError, SqlError
from .._policy import LIGHT, ROW, next_batch_size
from .._session import Session
from .._sql import MAX_NAME_BYTES, quote

ARGUMENT_SPEC: dict[str, Any] = {
    "table": {"type": "str", "required": True},
    "column": {"type": "str", "required": True},
    "older_than": {"type": "str", "default": "0"},
    "where": {"type": "str"},
    "timezone": {"type": "str"},
    "max_rows": {"type": "int"},
    "batch_ms": {"type": "int", "default": 250},
    "require_index": {"type": "bool", "default": True},
}
NAME_OPTIONS = ("table",)
DIVISIBLE = True

_AGE = re.compile(r"^(\d+)\s*([smhdw]?)$")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# UTC+7 is a POSIX zone for PostgreSQL, seven hours WEST of Greenwich. Nobody means that.
_POSIX_ZONE = re.compile(r"^[^/]*\d")

LONGEST_AGE = 1000 * 365 * 86400  # seconds; a cut-off before the year 1 is no date for Python
FIRST_BATCH = 1000  # rows
SMALL_TABLE = 1000  # pages (8 MB): reading all of it costs less than worrying about an index
LAG_LIMIT = 64 * 1024 * 1024  # bytes of WAL that a replica may be behind before a purge waits for it
LAG_LOOK = 2.0  # seconds between looks at the replicas
PASSES = 3  # over the expired rows, for those that were updated while we looked

QUERY_CANCELED = "57014"
FOREIGN_KEY_VIOLATION = "23503"

# pg_class knows no size before the first VACUUM or ANALYZE (reltuples -1): then the file is asked.
PAGES = """(
    SELECT sum(CASE WHEN p.reltuples < 0 THEN pg_catalog.pg_relation_size(p.oid) / current_setting('block_size')::int
                    ELSE p.relpages END)
    FROM pg_catalog.pg_class AS p
    WHERE p.oid = {oid} OR p.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree({oid})))"""

# A foreign key from or to a partitioned table stands in pg_constraint once more for each partition: only the topmost
# that refers to this table, or to a partition of it, counts.
FACTS = """
WITH {targets}
SELECT t.*, pg_catalog.clock_timestamp() - {older_than}::interval AS cutoff,
       a.attname::text AS column_name, a.atttypid::regtype::text AS column_type, a.attnum,
       (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_catalog.pg_attribute
        WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped) AS columns,
       {table_pages} AS pages,
       (SELECT relhassubclass FROM pg_catalog.pg_class WHERE oid = t.oid) AS divided,
       (SELECT array_agg(relid::oid) FROM pg_catalog.pg_partition_tree(t.oid) WHERE isleaf AND relid <> t.oid) AS leaves,
       EXISTS (SELECT FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
               JOIN pg_catalog.pg_am AS am ON am.oid = ic.relam
               WHERE i.indrelid = t.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
               AND am.amname = 'btree') AS indexed,
       pg_catalog.row_security_active(t.oid) AS row_security,
       pg_catalog.has_schema_privilege(t.schema_name, 'USAGE') AS may_use_schema,
       pg_catalog.has_table_privilege(t.oid, 'DELETE') AND pg_catalog.has_any_column_privilege(t.oid, 'UPDATE')
           AND pg_catalog.has_table_privilege(t.oid, 'SELECT') AS may_delete,
       (SELECT jsonb_agg(jsonb_build_object(
            'constraint', k.conname, 'table', format('%I.%I', n.nspname, r.relname), 'oid', r.oid::bigint,
            'cascades', k.confdeltype IN ('c', 'n', 'd'), 'pages', {key_pages},
            'columns', (SELECT string_agg(format('%I', ra.attname), ', ' ORDER BY u.ord)
                        FROM unnest(k.conkey) WITH ORDINALITY AS u (num, ord)
                        JOIN pg_catalog.pg_attribute AS ra ON ra.attrelid = k.conrelid AND ra.attnum = u.num),
            'indexed', EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = k.conrelid AND i.indisvalid
                               AND i.indpred IS NULL
                               AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)) ORDER BY k.oid)
        FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS r ON r.oid = k.conrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
        WHERE k.contype = 'f' AND k.confrelid = ANY (tree.oids) AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS up WHERE up.oid = k.conparentid AND up.confrelid = ANY (tree.oids))
       ) AS referenced_by
FROM target AS t
CROSS JOIN LATERAL (SELECT array_agg(relid::oid) || t.oid AS oids FROM pg_catalog.pg_partition_tree(t.oid)) AS tree
LEFT JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid = t.oid AND a.attname = {column} AND a.attnum > 0 AND NOT a.attisdropped
"""

# Rows are found by place because only a place is certain to exist; a place is unique only within one partition.
# The predicate stands in the DELETE again: between the two the row may have been given a new time. ORDER BY names the
# table, for a bare name could be that of an output column.
BATCH = """
WITH picked AS MATERIALIZED (
    SELECT tableoid AS part, ctid AS place, {column} AS value FROM {table}
    WHERE {expired} AND {beyond} ORDER BY {table}.{column} LIMIT {size} FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT place FROM picked))
    {of_part} AND {expired} RETURNING 1
)
SELECT (SELECT count(*) FROM picked) AS picked, (SELECT count(*) FROM gone) AS gone,
       (SELECT max(value)::text FROM picked) AS last
"""

# A place is unique only within one partition or child table. Left out where there is only one: it costs a third of the time.
OF_PART = "AND (tableoid, ctid) IN (SELECT part, place FROM picked)"

LAG = """
SELECT coalesce(max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn)), 0)::bigint AS bytes
FROM pg_catalog.pg_stat_replication WHERE replay_lsn IS NOT NULL
"""


@dataclass(frozen=True)
class Facts:
    """What decide() needs. found: some row is expired (real run); rows: how many (check mode), up to max_rows."""

    relation: _catalog.Relation
    column_type: str
    columns: list[str]
    fault: str
    served: bool
    cutoff: str
    found: bool
    rows: int | None
    referenced_by: list[dict[str, Any]]
    leaves: list[int]
    statement: str
    plan: Purge | None


@dataclass(frozen=True)
class Purge:
    """What execute() needs."""

    table: sql.Composable
    divided: bool
    column: sql.Composable
    column_type: str
    expired: sql.Composable
    max_rows: int | None
    batch_seconds: float

    def batch(self, size: int, beyond: sql.Composable) -> sql.Composed:
        return sql.SQL(BATCH).format(
            table=self.table,
            column=self.column,
            expired=self.expired,
            beyond=beyond,
            size=sql.Literal(size),
            of_part=sql.SQL(OF_PART if self.divided else ""),
        )

    def beyond(self, last: str | None, strictly: bool) -> sql.Composable:
        """Where the next batch starts: not at the front again, past all the rows that are dead by now."""
        if last is None:
            return sql.SQL("true")
        operator = sql.SQL(">" if strictly else ">=")
        return sql.SQL("{} {} {}::{}").format(self.column, operator, sql.Literal(last), sql.SQL(self.column_type))

    def count(self, limit: int | None) -> sql.Composed:
        return sql.SQL("SELECT count(*) AS rows FROM (SELECT FROM {} WHERE {} LIMIT {}) AS expired").format(
            self.table, self.expired, sql.Literal(limit)
        )


def check(options: dict[str, Any]) -> list[str]:
    """Faults of the options that need no database to be seen."""
    faults = []
    age = _AGE.match(options["older_than"].strip())
    if age and age_seconds(options["older_than"]) > LONGEST_AGE:
        faults.append(f"older_than: {options['older_than']!r} is more than a thousand years")
    if not age:
        faults.append(
            f"older_than: {options['older_than']!r} is not an age: write seconds, or a number with s, m, h, d or w, such as 30d"
        )
    if options["timezone"] and _POSIX_ZONE.match(options["timezone"]):
        faults.append(
            f"timezone: PostgreSQL reads {options['timezone']!r} with its sign reversed: write a name such as Asia/Ho_Chi_Minh"
        )
    if len(options["column"].encode()) > MAX_NAME_BYTES:
        faults.append(f"column: {options['column']!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit")
    if options["max_rows"] is not None and options["max_rows"] < 1:
        faults.append("max_rows: must be at least 1; leave it out for no limit")
    if not 10 <= options["batch_ms"] <= 60_000:
        faults.append("batch_ms: must be from 10 to 60000 milliseconds")
    if options["where"] is not None and not options["where"].strip():
        faults.append("where: is empty; leave it out to delete every row that has expired")
    return faults


def age_seconds(text: str) -> int:
    """Seconds of ``90``, ``90s``, ``15m``, ``12h``, ``30d`` or ``4w``."""
    match = _AGE.match(text.strip())
    if match is None:
        raise OptionError([f"older_than: {text!r} is not an age"])
    return int(match[1]) * _SECONDS[match[2]]


def _facts_query(session: Session, options: dict[str, Any]) -> sql.Composed:
    return sql.SQL(FACTS).format(
        targets=_catalog.targets(session.server, [options["table"]]),
        table_pages=sql.SQL(PAGES).format(oid=sql.SQL("t.oid")),
        key_pages=sql.SQL(PAGES).format(oid=sql.SQL("r.oid")),
        column=sql.Literal(options["column"]),
        older_than=sql.Literal(f"{age_seconds(options['older_than'])} seconds"),
    )


def facts(session: Session, options: dict[str, Any], context: Context) -> Facts:
    """Two turns: what the table is, and whether anything in it has expired."""
    row = session.row(_facts_query(session, options))
    if row["oid"] is None:
        raise _catalog.not_found(session, options["table"], "rp")
    relation = _catalog.relation(row)
    cutoff = row["cutoff"].isoformat()
    fault = _fault(session, relation, row, options)
    if fault:
        return Facts(relation, "", row["columns"] or [], fault, True, cutoff, False, None, [], [], "", None)
    plan = _plan(relation, row, options)
    served = (
        row["indexed"]
        or row["pages"] < SMALL_TABLE
        or not options["require_index"]
        or _planner_uses_index(session, plan)
    )
    rows = found = None
    if served and context.check:
        rows = session.row(plan.count(options["max_rows"]))["rows"]
    elif served:
        found = session.row(
            sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {}) AS found").format(plan.table, plan.expired)
        )["found"]
    return Facts(
        relation=relation,
        column_type=row["column_type"],
        columns=row["columns"],
        fault="",
        served=served,
        cutoff=cutoff,
        found=bool(found or rows),
        rows=rows,
        referenced_by=row["referenced_by"] or [],
        leaves=row["leaves"] or [],
        statement=" ".join(session.text(plan.batch(FIRST_BATCH, plan.beyond(None, False))).split()),
        plan=plan,
    )


def _fault(session: Session, relation: _catalog.Relation, row: dict[str, Any], options: dict[str, Any]) -> str:
    """What forbids the purge, or nothing."""
    zoneless = row["column_type"] in ("timestamp without time zone", "date")
    if relation.kind not in "rp":
        return str(_catalog.wrong_kind(relation, "table"))
    if row["column_name"] is None:
        names = ", ".join(quote(name) for name in row["columns"] or [])
        return f"there is no column {quote(options['column'])}; the columns are {names}"
    if row["column_type"] != "timestamp with time zone" and not zoneless:
        return f"column {quote(options['column'])} is of type {row['column_type']}; a timestamp or a date is needed"
    if zoneless and not options["timezone"]:
        return (f"column {quote(options['column'])} is a {row['column_type']}: say in which zone it was written with timezone, "
                "for example timezone: UTC")  # fmt: skip
    if not zoneless and options["timezone"]:
        return (
            f"column {quote(options['column'])} is a timestamp with time zone, which is unambiguous: take timezone out"
        )
    return _missing_right(session, relation, row)


def _missing_right(session: Session, relation: _catalog.Relation, row: dict[str, Any]) -> str:
    """What the role may not do, with the way out, or nothing."""
    if row["row_security"]:
        return f"row-level security hides rows from role {quote(session.server.user)}: use the owner or a role with BYPASSRLS"
    user = quote(session.server.user)
    if not row["may_use_schema"]:
        schema = quote(relation.schema)
        return f"role {user} may not use schema {schema}: GRANT USAGE ON SCHEMA {schema} TO {user}"
    if not row["may_delete"]:
        return f"role {user} may not delete here: GRANT SELECT, UPDATE, DELETE ON TABLE {relation.display} TO {user}"
    return ""


def _plan(relation: _catalog.Relation, row: dict[str, Any], options: dict[str, Any]) -> Purge:
    column = sql.Identifier(row["column_name"])
    expired = _expired(column, row["column_type"], row["cutoff"], options["timezone"])
    if options["where"]:
        # The line break keeps a comment at the end of the predicate from swallowing the parenthesis.
        expired = sql.SQL("{} AND ({}\n)").format(expired, sql.SQL(options["where"]))
    return Purge(
        table=relation.identifier,
        divided=row["divided"],
        column=column,
        column_type=row["column_type"],
        expired=expired,
        max_rows=options["max_rows"],
        batch_seconds=options["batch_ms"] / 1000,
    )


def _expired(column: sql.Composable, column_type: str, cutoff: Any, timezone: str | None) -> sql.Composed:
    """The predicate of an expired row. NULL never expires; neither does infinity.

    A zone-less time is compared twice: as it is, which an index can serve, and converted, which is exact: where clocks
    are turned back PostgreSQL takes the later of two possible instants, so no row goes early. A date has passed when
    its whole day has.
    """
    instant = sql.Literal(cutoff)
    if column_type == "timestamp with time zone":
        return sql.SQL("{} <= {}").format(column, instant)
    zone = sql.Literal(timezone)
    if column_type == "date":
        return sql.SQL("{} < pg_catalog.timezone({}, {})::date").format(column, zone, instant)
    return sql.SQL(
        "{column} <= pg_catalog.timezone({zone}, {instant}) AND pg_catalog.timezone({zone}, {column}) <= {instant}"
    ).format(column=column, zone=zone, instant=instant)


def _planner_uses_index(session: Session, plan: Purge) -> bool:
    """Whether the planner finds expired rows without reading all the table, for example through a partial index."""
    query = sql.SQL("EXPLAIN SELECT FROM {} WHERE {} ORDER BY {} LIMIT 1").format(plan.table, plan.expired, plan.column)
    return not any("Seq Scan" in row["QUERY PLAN"] for row in session.rows(query))


def decide(facts: Facts, options: dict[str, Any], context: Context) -> list[Action]:
    """One action: the table."""
    target = facts.relation.display

    def verdict(status: str, reason: str) -> list[Action]:
        return [Action("purge", target, reason, status, {"cutoff": facts.cutoff})]

    if facts.fault:
        return verdict(FAILED, facts.fault)
    column = quote(options["column"])
    if not facts.served:
        return verdict(FAILED, f"no index serves {column}, each batch would read the whole table: "
                       f"CREATE INDEX CONCURRENTLY ON {target} ({column}), or set require_index: false")  # fmt: skip
    slow = [key for key in facts.referenced_by if not key["indexed"] and key["pages"] >= SMALL_TABLE]
    if slow and options["require_index"]:
        key = slow[0]
        return verdict(
            FAILED,
            f"each deleted row would read all of {key['table']}, which refers to it ({key['constraint']}): CREATE INDEX "
            f"CONCURRENTLY ON {key['table']} ({key['columns']}), or set require_index: false",
        )
    if not facts.found:
        return verdict(UNCHANGED, f"no row of {column} is before the cut-off")
    numbers: dict[str, Any] = {"cutoff": facts.cutoff}
    cascades = [key["table"] for key in facts.referenced_by if key["cascades"]]
    if cascades:
        numbers["cascades_to"] = cascades
    if facts.rows is not None:
        numbers["rows"] = facts.rows
    affects = {facts.relation.oid: -1 if facts.rows is None else facts.rows}
    affects.update(dict.fromkeys(facts.leaves, -1))
    affects.update({key["oid"]: -1 for key in facts.referenced_by if key["cascades"]})
    return [Action("purge", target, reason_for(column), None, numbers, (facts.statement,), affects, facts.plan)]


def reason_for(column: str) -> str:
    """Why rows are deleted: the same words before and after."""
    return f"{column} is before the cut-off"


def execute(session: Session, action: Action, context: Context) -> Outcome:
    """Delete batch by batch, each a transaction of its own. What is deleted stays deleted, whatever happens later."""
    work = _Progress(session, action, context)
    try:
        for _pass in range(PASSES):
            before = work.rows
            if not work.one_pass():
                return work.outcome(DEFERRED, f"out of time after {work.rows} rows; the next run continues")
            if work.full:
                return work.outcome(reason=f"{action.reason}; stopped at max_rows")
            left = session.row(action.plan.count(1000))["rows"]
            if not left or work.rows == before:
                break
    except Contended as error:
        return work.outcome(CONTENDED, f"stopped after {work.rows} rows: {error}")
    except SqlError as error:
        if error.sqlstate == QUERY_CANCELED and context.seconds_left() < 1:
            return work.outcome(DEFERRED, f"out of time after {work.rows} rows; the next run continues")
        hint = "; exclude such rows with where" if error.sqlstate == FOREIGN_KEY_VIOLATION else ""
        return work.outcome(FAILED, f"stopped after {work.rows} rows: {error}{hint}")
    if left:
        work.numbers["left"] = left
        return work.outcome(
            reason=f"{action.reason}; {left}{'+' if left == 1000 else ''} rows left, locked by others or kept by a trigger"
        )
    return work.outcome()


class _Progress:
    """A purge under way."""

    def __init__(self, session: Session, action: Action, context: Context) -> None:
        self.session, self.target, self.context, self.plan = session, action.target, context, action.plan
        self.started = self.looked = time.monotonic()
        self.rows = self.batches = 0
        self.size = FIRST_BATCH
        self.paused = 0.0
        self.numbers: dict[str, Any] = {}

    @property
    def full(self) -> bool:
        return self.plan.max_rows is not None and self.rows >= self.plan.max_rows

    def one_pass(self) -> bool:
        """Go once through the expired rows, oldest first. False when time ran out."""
        last, strictly = None, False
        while not self.full:
            if self.context.seconds_left() <= 0:
                return False
            row = self._batch(self.plan.beyond(last, strictly))
            if not row["picked"]:
                return True
            # A batch of which nothing could be deleted must not be picked again.
            last, strictly = row["last"], row["gone"] == 0
            self._yield_to_replicas()
        return True

    def _batch(self, beyond: sql.Composable) -> dict[str, Any]:
        """One batch; a table lock that does not come is waited for with smaller batches, a few times."""
        for attempt in range(5):
            size = self.size if self.plan.max_rows is None else min(self.size, self.plan.max_rows - self.rows)
            self.session.set(lock_timeout=ROW)
            began = time.monotonic()
            try:
                row = self.session.row(self.plan.batch(size, beyond))
                break
            except Contended:
                self.size = max(10, self.size // 2)
                if attempt == 4 or self.context.seconds_left() < ROW:
                    raise
        if row["picked"] == size:
            self.size = next_batch_size(self.size, time.monotonic() - began, self.plan.batch_seconds)
        self.rows += row["gone"]
        self.batches += 1
        self.context.progress(self.target, self.rows, time.monotonic() - self.started)
        return row

    def _yield_to_replicas(self) -> None:
        """Wait while a replica is far behind: deleting is the kind of WAL that makes it fall behind."""
        if time.monotonic() - self.looked < LAG_LOOK:
            return
        # No statement may run past the end of the budget by more than the time between two looks.
        self.session.set(statement_timeout=max(0.001, self.context.seconds_left()))
        began = self.looked = time.monotonic()
        while self.session.row(LAG)["bytes"] > LAG_LIMIT and self.context.seconds_left() > LIGHT:
            time.sleep(0.5)  # a replica catches up by itself and tells nobody
        self.looked = time.monotonic()
        if self.looked - began >= 0.5:
            self.paused += self.looked - began

    def outcome(self, status: str = "done", reason: str = "") -> Outcome:
        self.numbers.update(rows=self.rows, batches=self.batches)
        if self.paused:
            self.numbers["paused_seconds"] = round(self.paused, 1)
        return Outcome(status, reason, changed=self.rows > 0, rows=self.rows, numbers=self.numbers)
