# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What partitions cannot be judged by, with the way out."""

from __future__ import annotations

from typing import Any

from ...._postgres import catalog
from ...._postgres.names import quote
from ...._postgres.server import Server
from ..options import Condition, Options
from . import bounds
from .bounds import Key

_STRATEGIES = {"l": "LIST", "h": "HASH"}
_KINDS = {
    "timestamp with time zone": bounds.INSTANT,
    "timestamp without time zone": bounds.ZONELESS,
    "date": bounds.DATE,
    "smallint": bounds.INTEGER,
    "integer": bounds.INTEGER,
    "bigint": bounds.INTEGER,
    "uuid": bounds.UUID,
    "text": bounds.ULID,
    "character varying": bounds.ULID,
}
_FORMATS = {bounds.UUID: "uuidv7", bounds.ULID: "ulid"}
BY_ROWS = "leave partitions out to delete row by row"


def key(row: dict[str, Any], condition: Condition) -> Key:
    """What the table is divided by, where key_fault() has found nothing."""
    return Key(
        column=row["key"],
        type=row["key_type"],
        kind=_KINDS[row["key_type"]],
        unit=bounds.UNITS.get(condition.epoch or "", 1),
        zone=condition.timezone,
    )


def fault(server: Server, relation: catalog.Relation, row: dict[str, Any], options: Options) -> str:
    """What forbids to deal with the partitions of a table, "" if nothing does."""
    if relation.kind != "p":
        return f"{relation.display} is not partitioned: {BY_ROWS}"
    return (
        _division_fault(row, options.conditions[0]) or _type_fault(row, options) or _right_fault(server, relation, row)
    )


def _division_fault(row: dict[str, Any], condition: Condition) -> str:
    how, column = row["divided_by"], quote(condition.column)
    if row["strategy"] != "r":
        strategy = _STRATEGIES.get(row["strategy"], row["strategy"])
        return f"it is partitioned by {strategy} ({how}), which says nothing of time, and not by RANGE ({column}): {BY_ROWS}"
    if row["parts"] > 1:
        return f"it is partitioned by several columns ({how}), whose bounds do not say when all rows have expired: {BY_ROWS}"
    if row["key"] is None:
        return f"it is partitioned by an expression ({how}), and not by the column {column}: {BY_ROWS}"
    if not row["column_exists"]:
        return f"there is no column {column}; it is partitioned by {quote(row['key'])}"
    if row["key"] != condition.column:
        return f"it is partitioned by {quote(row['key'])} and not by {column}: name that column, or {BY_ROWS}"
    if not row["plain_order"]:
        return f"its key {column} has an operator class of its own ({how}), whose order is not known: {BY_ROWS}"
    return ""


def _type_fault(row: dict[str, Any], options: Options) -> str:
    """What is wrong with the type of the key, or declared of it."""
    condition, column, type_name = options.conditions[0], quote(row["key"]), row["key_type"]
    kind = _KINDS.get(type_name)
    if kind is None:
        return (f"its key {column} is of type {type_name}; a timestamp, a date, an integer, a uuid or a text is needed: "
                f"{BY_ROWS}")  # fmt: skip
    zone = _zone_fault(kind, condition, options.premake is not None, f"column {column} is a {type_name}")
    return zone or _declared_fault(kind, condition, f"column {column} is of type {type_name}", row["by_bytes"])


def _zone_fault(kind: str, condition: Condition, creates: bool, what: str) -> str:
    if kind in (bounds.ZONELESS, bounds.DATE) and not condition.timezone:
        return f"{what}: say in which zone it was written with timezone, for example timezone: UTC"
    if kind == bounds.INSTANT and condition.timezone and not creates:
        return f"{what}, which is unambiguous: take timezone out"
    return ""


def _declared_fault(kind: str, condition: Condition, what: str, by_bytes: bool) -> str:
    if kind == bounds.INTEGER and not condition.epoch:
        return f"{what}: say what it counts since 1970 with epoch: s, ms or us"
    if kind != bounds.INTEGER and condition.epoch:
        return f"{what}, which is no number: take epoch out"
    wanted = _FORMATS.get(kind)
    if wanted and condition.format != wanted:
        return f"{what}, of which partitions are judged with format: {wanted}; else {BY_ROWS}"
    if not wanted and condition.format:
        return f"{what}: take format out"
    if kind == bounds.ULID and not by_bytes:
        return f'{what} and does not sort by bytes, so that bounds say nothing of time (COLLATE "C" would): {BY_ROWS}'
    return ""


def _right_fault(server: Server, relation: catalog.Relation, row: dict[str, Any]) -> str:
    if not row["may_use_schema"]:
        return catalog.schema_fault(server, relation)
    if not row["may_alter"]:
        return owner_fault(server, relation.owner, "its partitions can be detached and attached")
    return ""


def owner_fault(server: Server, owner: str, what: str) -> str:
    """What to say when the present role is not the owner, and no member of it."""
    return f"{what} only by its owner: GRANT {quote(owner)} TO {quote(server.user)}"
