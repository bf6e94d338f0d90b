# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What is known of releases of PostgreSQL: faults that damage data, and until when there are fixes. Data; add to it.

The faults are those of which the release notes say that they have damaged indexes or data, from 14.0 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

ALWAYS = "true"
# Whether the database has what a fault is about, as SQL.
_CLASS = """EXISTS (
    SELECT FROM pg_catalog.pg_index AS i WHERE i.indclass::oid[] && ARRAY(
        SELECT o.oid FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_am AS m ON m.oid = o.opcmethod
        WHERE m.amname = '{method}' AND o.opcname ~ '{name}'))"""
_SELF_REFERENCE = """EXISTS (
    SELECT FROM pg_catalog.pg_constraint AS x JOIN pg_catalog.pg_class AS c ON c.oid = x.conrelid
    WHERE x.contype = 'f' AND x.conrelid = x.confrelid AND c.relkind = 'p')"""
_PARTITIONED_REFERENCE = """EXISTS (
    SELECT FROM pg_catalog.pg_constraint AS x JOIN pg_catalog.pg_class AS c ON c.oid = x.conrelid
    JOIN pg_catalog.pg_class AS f ON f.oid = x.confrelid WHERE x.contype = 'f' AND c.relkind = 'p' AND f.relkind = 'p')"""

_EXPRESSION = """EXISTS (
    SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid >= 16384 AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))"""


def _class(method: str, name: str = "") -> str:
    return _CLASS.format(method=method, name=name)


@dataclass(frozen=True)
class Fault:
    """One fault of the server.

    what     what it damages
    fixed    major release -> the minor release that has the fix; others never had the fault
    exposed  SQL: whether this database has what it is about
    after    what to do after the update
    """

    what: str
    fixed: Mapping[int, int]
    exposed: str = ALWAYS
    after: str = ""


FAULTS = (
    Fault(
        "VACUUM can leave GIN indexes with entries of rows that are gone, and damage their pages",
        {14: 25, 15: 20, 16: 16, 17: 12, 18: 7},
        _class("gin"),
        "rebuild GIN indexes of tables that change much",
    ),
    Fault(
        "index-only scans of B-tree indexes on columns of type character(n) can return wrong values",
        {14: 25, 15: 20, 16: 16, 17: 12, 18: 7},
        _class("btree", "^bpchar_"),
        "rebuild indexes on columns of type character(n)",
    ),
    Fault(
        "BRIN indexes with numeric_minmax_multi_ops can miss rows",
        {14: 19, 15: 14, 16: 10, 17: 6},
        _class("brin", "^numeric_minmax_multi_ops$"),
        "rebuild these indexes",
    ),
    Fault(
        "BRIN bloom indexes can miss rows",
        {14: 18, 15: 13, 16: 9, 17: 5},
        _class("brin", "_bloom_ops$"),
        "rebuild these indexes",
    ),
    Fault(
        "foreign keys of a partitioned table to itself are not enforced in full",
        {14: 18, 15: 13, 16: 9, 17: 5},
        _SELF_REFERENCE,
        "drop and create these foreign keys",
    ),
    Fault(
        "a partition that is detached keeps broken foreign keys to other partitioned tables",
        {14: 14, 15: 9, 16: 5, 17: 1},
        _PARTITIONED_REFERENCE,
        "see the release notes for what to repair",
    ),
    Fault(
        "concurrent rebuilds of indexes with an expression or a predicate are not waited for by others, which can leave out rows",
        {14: 14, 15: 9, 16: 5, 17: 1},
        _EXPRESSION,
        "rebuild indexes that were made concurrently beside such a rebuild",
    ),
    Fault(
        "GIN indexes can be damaged by concurrent updates",
        {14: 11, 15: 6, 16: 2},
        _class("gin"),
        "rebuild GIN indexes",
    ),
    Fault(
        "indexes of several kinds, GiST and those on intervals among them, can return wrong results",
        {14: 10, 15: 5, 16: 1},
        f"({_class('gist')} OR {_class('btree', '^interval_')} OR {_class('brin', '(date|interval|timestamp).*multi')})",
        "rebuild these indexes",
    ),
    Fault("BRIN indexes can forget NULLs", {14: 9, 15: 4}, _class("brin"), "rebuild BRIN indexes"),
    Fault(
        "CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY can leave out rows",
        {14: 4},
        after="rebuild every index that was made so",
    ),
    Fault("VACUUM can leave references to rows that are gone", {14: 2}, after="rebuild the indexes"),
)

# After that day there are no fixes any more.
LAST_FIXES = {
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}


def faults_of(version_num: int) -> list[Fault]:
    """Those that a server of this version has, by its server_version_num."""
    major, minor = divmod(version_num, 10000)
    return [fault for fault in FAULTS if minor < fault.fixed.get(major, 0)]


def days_without_fixes(version_num: int, today: date) -> int:
    """Days since a server of this version could get fixes at last, 0 if it still does. What is not known here is newer."""
    return max(0, (today - LAST_FIXES.get(version_num // 10000, date.max)).days)
