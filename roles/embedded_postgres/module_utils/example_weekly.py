# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the steps of a weekly plan did in an invented run; see example_hourly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.registry import BY_ID
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import (
    CONTENDED,
    DONE,
    INFO,
    SKIPPED,
    UNCHANGED,
    WARNING,
)
from ansible_collections.vtchat.maintenance.plugins.module_utils._units import count, rows, size

from .example_facts import PAGE, Index, Relation
from .example_work import Work

HOLDER = "session 39127 (postgres, psql, idle in transaction for 3 d 4 h)"
FREEZE_LIMITS = {"freeze_limit": 200_000_000, "multixact_limit": 400_000_000}
BESIDE_UPSERTS = (
    "while {what} is rebuilt concurrently, INSERT ... ON CONFLICT fails now and then with a duplicate key before PostgreSQL 19: "
    "set unique: true where nothing does that, or give a quiet window"
)
# What the history keeps of each look at a database, and how it is worded.
TRENDS = {
    "freeze-age": "its oldest row is {} transactions old",
    "multixact-age": "its oldest row is {} multixacts old",
    "database-size": "{}",
}


def vacuum(work: Work, given: Mapping[str, Any]) -> None:
    """Tables: those with enough dead rows. A forgotten transaction keeps them."""
    for name in given["tables"] or ():
        table = work.relation(name)
        dead = round(work.memory.dead.get(table.name, 0.0) * work.world.noise(0.1))
        limit = max(given["min_dead_rows"], int(0.5 * (50 + 0.2 * table.rows)) + 1)
        numbers = _numbers(work, table, dead, limit)
        if dead < limit:
            reason = f"{rows(dead).replace('row', 'dead row')}, below the threshold of {count(limit)}"
            work.note("vacuum", table.name, UNCHANGED, reason, **numbers)
        else:
            _vacuum(work, table, numbers)


def _vacuum(work: Work, table: Relation, numbers: dict[str, Any]) -> None:
    dead = numbers["dead"]
    reason = f"{count(dead)} dead rows (threshold {count(numbers['dead_threshold'])})"
    action = work.execute("vacuum", table.name, 0.2 + table.bytes / 60e6, numbers)
    action.statements = [f"VACUUM (SKIP_LOCKED, VERBOSE, TRUNCATE FALSE) {table.name}"]
    left = round(dead * 0.96) if work.world.held(work.started) else 0
    action.outcome, action.reason = (CONTENDED if left else DONE), reason
    if left:
        action.reason += f"; {count(left)} dead rows cannot go: {HOLDER} may still see them"
    action.rows = dead - left
    measured = ("rows", "dead", "inserted", "pages", "freeze_age", "multixact_age", "toast_dead", "toast_freeze_age")
    after = {f"{name}_after": numbers[name] for name in measured} | {"dead_after": left, "inserted_after": 0}
    shares = {"visible_share_after": 0.6 if left else 1.0, "frozen_share_after": numbers["frozen_share"]}
    action.measured = {**after, **shares, "bytes_before": table.bytes, "bytes_after": table.bytes,
                       "won_bytes": 0, "verbose": _verbose(work, table, dead - left, left)}  # fmt: skip
    work.memory.dead[table.name] = float(left)


def _numbers(work: Work, table: Relation, dead: int, limit: int) -> dict[str, Any]:
    age = work.world.used(work.started, table.freeze_age)
    visible = round(max(0.2, 1 - dead / max(1, table.rows) * 2), 4)
    inserted = round(table.rows * 0.02 * work.world.noise(0.3))
    most = max(1000, int(0.5 * (1000 + 0.2 * table.rows)) + 1)
    return {"rows": table.rows, "dead": dead, "inserted": min(inserted, most - 1), "bytes": table.bytes,
            "pages": table.bytes // PAGE, "dead_threshold": limit, "inserted_threshold": most, "freeze_age": age,
            "multixact_age": 0, "toast_dead": 0, "toast_freeze_age": age, "visible_share": visible, "frozen_share": 0.0,
            **FREEZE_LIMITS}  # fmt: skip


def _verbose(work: Work, table: Relation, gone: int, left: int) -> list[str]:
    """What VACUUM (VERBOSE) says first."""
    name, pages = f"{work.demo.server.database}.{table.name}", table.bytes // PAGE
    return [
        f'vacuuming "{name}"',
        f'finished vacuuming "{name}": index scans: 1',
        f"pages: 0 removed, {pages} remain, {pages} scanned (100.00% of total), 0 eagerly scanned",
        f"tuples: {gone} removed, {table.rows} remain, {left} are dead but not yet removable",
        "frozen: 0 pages from table (0.00% of total) had 0 tuples frozen",
    ]


def reindex(work: Work, given: Mapping[str, Any]) -> None:
    """Indexes of the tables: those that are air for the most part, and large enough."""
    tables = {work.named(name) for name in given["tables"] or ()}
    for index in (one for one in work.demo.indexes if one.table in tables):
        share = work.world.growth(work.started, index.table)
        now = round(index.bytes * share / PAGE) * PAGE
        bloat = work.memory.bloat.get(index.name, 0.12) + (0.07 if now else 0) * work.world.noise(0.4)
        work.memory.bloat[index.name] = min(0.65, bloat)
        if now < given["min_size"]:
            reason = f"its {size(now)} are less than min_size, {size(given['min_size'])}"
            work.note("reindex", index.name, UNCHANGED, reason, bytes=now)
        elif index.method != "btree":
            reason = f"no number: statistics say nothing about the size of an index of type {index.method}"
            work.note("reindex", index.name, UNCHANGED, reason, bytes=now, rows=round(index.rows * share))
        else:
            _reindex(work, given, index, now, round(index.rows * share))


def _reindex(work: Work, given: Mapping[str, Any], index: Index, now: int, entries: int) -> None:
    share = work.memory.bloat[index.name]
    fresh = round(now * (1 - share) / PAGE) * PAGE
    numbers = {"bytes": now, "rows": entries, "bloat": round(share, 3), "fresh_bytes": fresh, "gain_bytes": now - fresh,
               "method": "estimate", "confidence": "low", "threshold": given["bloat"],
               "min_gain": given["min_gain"]}  # fmt: skip
    told = f"{round(share * 100)} % bloat (estimate, low confidence)"
    if share < given["bloat"] or now - fresh < given["min_gain"]:
        why = f"below {given['bloat'] * 100:g} %" if share < given["bloat"] else "less than min_gain to be won"
        return work.note("reindex", index.name, UNCHANGED, f"{told}, {why}", **numbers)
    reason = f"{told}, {size(now - fresh)} to be won"
    numbers |= {"needs_bytes": fresh, "wal_bytes": fresh, "expected_seconds": round(now / 9e6, 3)}
    if index.is_unique:
        what = "the primary key" if index.is_primary else "a unique index"
        return work.note("reindex", index.name, SKIPPED, f"{reason}; {BESIDE_UPSERTS.format(what=what)}", **numbers)
    if work.world.held(work.started):
        why = f"it would have to wait for {HOLDER}"
        return work.note("reindex", index.name, CONTENDED, f"{reason}; {why}", **numbers)
    action = work.execute("reindex", index.name, 0.3 + now / 9e6, numbers)
    action.statements = [f"ANALYZE {index.table}", f"REINDEX INDEX CONCURRENTLY {index.name}"]
    seconds = (action.finished - action.started).total_seconds() if action.finished else 0.0
    action.outcome, won = DONE, now - fresh
    predicted = f"{size(won)} won, {size(won)} predicted (estimate)"
    action.reason = f"{size(now)} before, {size(fresh)} now: {predicted}"
    action.measured = {"bytes_after": fresh, "won_bytes": won, "rebuilt_seconds": round(seconds * 0.9, 3),
                       "seconds_waited": round(seconds * 0.02, 3)}  # fmt: skip
    work.memory.bloat[index.name] = 0.04
    return None


def index_info(work: Work, _given: Mapping[str, Any]) -> None:
    """What is said of the indexes now was as true then."""
    look = work.demo.looks["index_info"]
    (said,) = look["actions"]
    work.note("index_info", said["target"], UNCHANGED, said["reason"], **said["numbers"])
    work.findings += [_kept(work, one) for one in look["findings"] if one["value"] is not None]


def health_info(work: Work, _given: Mapping[str, Any]) -> None:
    """All was well, but for the dead rows that somebody kept."""
    look = work.demo.looks["health_info"]
    found = [_then(work, one) for one in look["findings"] if one["check"] in TRENDS]
    total = len({one["check"] for one in look["findings"]})
    ill = _dead_rows(work) if work.world.held(work.started) else []
    numbers = {INFO: total - len(ill), **({WARNING: len(ill)} if ill else {})}
    reason = f"{len(ill)} warning, {count(total - len(ill))} well" if ill else "all well"
    work.note("health_info", f"{count(total)} checks", UNCHANGED, reason, **numbers)
    work.findings += [*ill, *found]


def _dead_rows(work: Work) -> list[dict[str, Any]]:
    """Of the table that has most of them."""
    check = BY_ID["dead-rows"]
    name = max(work.memory.dead, key=lambda one: work.memory.dead[one])
    table = work.relation(name)
    dead = max(round(work.memory.dead[name]), round(table.rows * 0.27))
    value = round(100 * dead / (table.rows + dead), 1)
    evidence = {"unit": check.unit, "dead_rows": dead, "live_rows": table.rows, "bytes": table.bytes}
    told = {"check": check.id, "subject": name, "level": WARNING, "value": value, "threshold": check.thresholds.warning,
            "message": f"{count(dead)} dead and {rows(table.rows)} alive", "evidence": evidence,
            "advice": f"VACUUM {name}; if they stay, see the check horizon-holder"}  # fmt: skip
    return [_kept(work, told)]


def _then(work: Work, now: Mapping[str, Any]) -> dict[str, Any]:
    """A finding that is a trend, as it was then."""
    then, evidence = _kept(work, now), dict(now["evidence"])
    if now["check"] == "database-size":
        then["value"] = work.database_bytes()
        return {**then, "message": size(then["value"])}
    for name in ("next_xid", "next_multixact"):
        evidence[name] = work.world.used(work.started, evidence[name])
    then["value"] = work.world.used(work.started, int(now["value"])) if now["value"] else now["value"]
    return {**then, "message": TRENDS[now["check"]].format(count(int(then["value"]))), "evidence": evidence}


def _kept(work: Work, finding: Mapping[str, Any]) -> dict[str, Any]:
    """What the history keeps of a finding."""
    keys = ("check", "subject", "level", "message", "value", "threshold", "evidence", "advice")
    return {"step": work.step, **{key: finding[key] for key in keys}}
