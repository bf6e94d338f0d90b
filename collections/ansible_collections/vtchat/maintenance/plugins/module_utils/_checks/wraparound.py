# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""How far transaction IDs and multixacts are from running out, and who keeps VACUUM from freezing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .._postgres.capabilities import WIDE_MULTIXACT_OFFSETS
from .._postgres.horizon import HOLDERS, NEXT_XID, OF_CATALOGS, holder
from .._postgres.names import display, quote
from .._units import count
from . import Asked, Check, Sample, Thresholds, forecast

# Half and three quarters of the 2^31 that there are, as pgMonitor has them.
HALF = Thresholds(2**30, 3 * 2**29)
MEANING = "When they run out, the server refuses every write until everything has been frozen."
SOURCE = "half and three quarters of 2^31, as pgMonitor warns"
REMEDY = "have autovacuum or the plan weekly freeze the oldest tables, and end what holds old rows back"

# The oldest tables of this database. A TOAST table is told as its table, which is what one can vacuum.
OLDEST_TABLES = """
SELECT jsonb_agg(jsonb_build_object('schema', n.nspname, 'name', m.relname, 'age', t.age) ORDER BY t.age DESC)
FROM (SELECT c.oid, c.relkind, {age} AS age FROM pg_catalog.pg_class AS c
      WHERE c.relkind IN ('r', 'm', 't') AND {known} ORDER BY 3 DESC LIMIT 3) AS t
JOIN pg_catalog.pg_class AS m ON CASE WHEN t.relkind = 't' THEN m.reltoastrelid ELSE m.oid END = t.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = m.relnamespace
"""

# One row a database: the server stops for all when one of them is too old. The counters are what a later run compares with; the
# multixacts have one of 32 bits only.
AGES = f"""
SELECT d.datname::text AS database, d.datname = current_database() AS own, d.datallowconn AS connects,
       age(d.datfrozenxid)::bigint AS transactions, mxid_age(d.datminmxid)::bigint AS multixacts,
       {NEXT_XID} AS next_xid, (d.datminmxid::text::bigint + mxid_age(d.datminmxid)) %% 4294967296 AS next_multixact,
       (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system,
       CASE WHEN d.datname = current_database()
            THEN ({OLDEST_TABLES.format(age="age(c.relfrozenxid)", known="c.relfrozenxid <> '0'")}) END AS of_transactions,
       CASE WHEN d.datname = current_database()
            THEN ({OLDEST_TABLES.format(age="mxid_age(c.relminmxid)", known="c.relminmxid <> '0'")}) END AS of_multixacts
FROM pg_catalog.pg_database AS d ORDER BY own DESC, database
"""  # noqa: S608 - made of constants

# The members of multixacts have 2^32 places, in segments of so many (MULTIXACT_MEMBERS_PER_PAGE times pages per segment). How
# many are in use is told by no function before 19, but by the segments that there are.
MEMBERS_PER_SEGMENT = 1636 * 32
MEMBERS = """
SELECT count(*) AS segments FROM pg_catalog.pg_ls_dir('pg_multixact/members', true, false)
"""
NO_MEMBERS = "SELECT 1 WHERE false"

# Everybody who needs old rows, the oldest first.
HELD = f"""
SELECT * FROM ({HOLDERS.replace("%", "%%")} UNION ALL {OF_CATALOGS}) AS h WHERE h.age IS NOT NULL ORDER BY h.age DESC LIMIT 20
"""  # noqa: S608 - made of constants


def _ages(what: str, found: Sequence[Mapping[str, Any]], _asked: Asked) -> list[Sample]:
    samples = []
    for row in found:
        tables = {display(one["schema"], one["name"]): one["age"] for one in row[f"of_{what}"] or ()}
        counters = {name: row[name] for name in (forecast.NEXT_XID, forecast.NEXT_MULTIXACT, forecast.SYSTEM)}
        evidence = {"tables": tables, **counters} if row["own"] else counters
        age = f"its oldest row is {count(row[what])} {what} old"
        samples.append(Sample(row["database"], row[what], age, evidence, _advice(row, list(tables))))
    return samples


def _advice(row: Mapping[str, Any], tables: Sequence[str]) -> str:
    if row["own"]:
        return f"{REMEDY}: VACUUM (FREEZE) {', '.join(tables)};" if tables else ""
    if row["connects"]:
        return f"connect to this other database of the server and vacuum it: {REMEDY}"
    return f"ALTER DATABASE {quote(row['database'])} ALLOW_CONNECTIONS true; connect to it, VACUUM (FREEZE), and forbid it again"


def _members(asked: Asked) -> str:
    """Who may not call a function must not even name it."""
    return MEMBERS if asked.server.may_list_files else NO_MEMBERS


def members(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Places for members in use. From 19 on they are counted in 64 bits, and do not run out."""
    if asked.server.has(WIDE_MULTIXACT_OFFSETS):
        return []
    if not found:
        hidden = "how many members multixacts have is told by the files of the server only"
        return [Sample(asked.database, None, hidden)]
    used = found[0]["segments"] * MEMBERS_PER_SEGMENT
    return [Sample(asked.database, used, f"at most {count(used)} places for members of multixacts are in use")]


def holders(found: Sequence[Mapping[str, Any]], asked: Asked) -> list[Sample]:
    """Transactions that have begun since somebody's snapshot was taken."""
    return [
        Sample(
            _subject(row),
            row["age"],
            f"{holder(row)} needs rows as they were {count(row['age'])} transaction{'' if row['age'] == 1 else 's'} ago",
            {"kind": row["kind"], "pid": row["pid"], "user": row["user"], "state": row["state"]},
            _release(row),
        )
        for row in found
    ] or [Sample(asked.database, 0, "nobody needs old rows")]


def _subject(row: Mapping[str, Any]) -> str:
    if row["kind"] == "session":
        return f"pid {row['pid']}"
    if row["kind"] == "prepared":
        return f"prepared transaction {_literal(row['name'])}"
    return f"{'standby' if row['kind'] == 'standby' else 'slot'} {quote(row['name'] or str(row['pid']))}"


def _release(row: Mapping[str, Any]) -> str:
    if row["kind"] == "session":
        return f"SELECT pg_catalog.pg_terminate_backend({row['pid']});"
    if row["kind"] == "prepared":
        return f"COMMIT PREPARED {_literal(row['name'])}; or ROLLBACK PREPARED {_literal(row['name'])};"
    if row["kind"] == "standby":
        return "end the query on the standby, or set hot_standby_feedback = off there"
    drop = f"SELECT pg_catalog.pg_drop_replication_slot({_literal(row['name'])});"
    return f"have its consumer go on, or, if nobody needs it: {drop}"


def _literal(text: str) -> str:
    """A string as SQL."""
    return "'" + text.replace("'", "''") + "'"


CHECKS = (
    Check(
        "freeze-age",
        "wraparound",
        "Age of the oldest transaction ID",
        "transactions",
        HALF,
        SOURCE,
        MEANING,
        REMEDY,
        partial(_ages, "transactions"),
        query=AGES,
        trend=True,
    ),
    Check(
        "multixact-age",
        "wraparound",
        "Age of the oldest multixact",
        "multixacts",
        HALF,
        SOURCE,
        MEANING,
        REMEDY,
        partial(_ages, "multixacts"),
        of="freeze-age",
        trend=True,
    ),
    Check(
        "multixact-members",
        "wraparound",
        "Places for members of multixacts",
        "members",
        Thresholds(2**31, 3 * 2**30),
        "half and three quarters of 2^32, where the server itself begins to freeze sooner (MULTIXACT_MEMBER_*_THRESHOLD)",
        "When they run out, no row can be locked by two transactions at once; many wide multixacts need them long before "
        "their own numbers run out.",
        REMEDY,
        members,
        query=_members,
        right="EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean)",
    ),
    Check(
        "wraparound-forecast",
        "wraparound",
        "Days until transaction IDs or multixacts run out",
        "days",
        forecast.BEHIND,
        "a month and a week where freezing lags behind what autovacuum is set to; two days and half a day where it does not",
        f"{MEANING} How fast they are used is known from the run that is nearest to a week ago.",
        REMEDY,
        forecast.samples,
        query=forecast.query,
        history=True,
    ),
    Check(
        "horizon-holder",
        "wraparound",
        "Who keeps old rows from being removed and frozen",
        "transactions",
        Thresholds(50_000_000, 200_000_000),
        "vacuum_freeze_min_age and autovacuum_freeze_max_age as they are by default",
        "From there on VACUUM removes and freezes nothing, however often it runs.",
        "end it",
        holders,
        query=HELD,
    ),
)
