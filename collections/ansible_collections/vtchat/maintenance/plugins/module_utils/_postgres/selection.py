# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Which tables a step is about: by name, by pattern, by size; and thresholds that are others for some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from .._spec import Spec
from .._units import count, size
from .capabilities import MAINTAIN
from .catalog import may_maintain, targets
from .driver import sql
from .names import display, name_faults, quote
from .server import Server

SELECTION = Spec(
    {
        "tables": {"type": "list", "elements": "str"},
        "include": {"type": "list", "elements": "str"},
        "exclude": {"type": "list", "elements": "str"},
        "min_size": {"type": "bytes"},
        "max_size": {"type": "bytes"},
    },
    required_one_of=[("tables", "include")],
)

# The owner of the database may VACUUM and ANALYZE everything in it but the shared catalogs.
OWNS_DATABASE = """
OR NOT c.relisshared AND (SELECT pg_catalog.pg_has_role(datdba, 'USAGE') FROM pg_catalog.pg_database
                          WHERE datname = pg_catalog.current_database())
"""

# Bytes of a relation and its TOAST table, as they are on the disk. Nothing that somebody has locked as a whole is asked, for
# that would wait. TOAST tables are locked with their table.
BYTES = """
CASE WHEN NOT EXISTS (SELECT FROM locked WHERE relation IN (c.oid, c.reltoastrelid)) THEN
    pg_catalog.pg_relation_size(c.oid)
    + CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_relation_size(c.reltoastrelid) ELSE 0 END
END
"""

LOCKED = """
locked AS MATERIALIZED (
    SELECT relation FROM pg_catalog.pg_locks
    WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
)"""

# What patterns are compared with: the relation's own name and those of the partitioned tables that it belongs to.
NAMES = """
CASE WHEN c.relispartition THEN (
    SELECT pg_catalog.array_agg(pg_catalog.concat(an.nspname, '.', ac.relname))
    FROM pg_catalog.pg_partition_ancestors(c.oid) AS a
    JOIN pg_catalog.pg_class AS ac ON ac.oid = a.relid JOIN pg_catalog.pg_namespace AS an ON an.oid = ac.relnamespace)
ELSE ARRAY[pg_catalog.concat(n.nspname, '.', c.relname)] END
"""

# Temporary tables are nobody else's business, and the server's own schemas are never meant. Nor is our own history, which each
# run changes: a second run would find in it what the first one has left to do.
BY_PATTERN = """
candidate AS MATERIALIZED (
    SELECT c.oid, {names} AS names
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind::text = ANY ({kinds}) AND c.relpersistence <> 't' AND {parts}
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT (n.nspname = 'maintenance' AND c.relname IN ('run', 'action', 'state', 'finding', 'sample', 'counter')
             AND EXISTS (
        SELECT FROM pg_catalog.pg_class AS h WHERE h.relname = 'run' AND h.relnamespace = n.oid
        AND pg_catalog.starts_with(pg_catalog.obj_description(h.oid, 'pg_class'), 'vtchat.maintenance history')))
),
by_pattern AS MATERIALIZED (
    SELECT oid, names FROM candidate
    WHERE EXISTS (SELECT FROM pg_catalog.unnest(names) AS name WHERE name ~ ANY ({include}::text[]))
    AND NOT EXISTS (SELECT FROM pg_catalog.unnest(names) AS name WHERE name ~ ANY ({exclude}::text[]))
)"""

# A partitioned table that is named means its partitions, which have the rows.
BY_NAME = """
tree (position, oid) AS (
    SELECT position, oid FROM named WHERE oid IS NOT NULL
    UNION
    SELECT t.position, i.inhrelid FROM tree AS t
    JOIN pg_catalog.pg_class AS p ON p.oid = t.oid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
),
by_name AS MATERIALIZED (
    SELECT oid, min(position) AS position FROM tree WHERE (SELECT relkind FROM pg_catalog.pg_class WHERE oid = tree.oid) <> 'p'
    GROUP BY oid
)"""

STORED = """
chosen AS MATERIALIZED (
    SELECT position, oid FROM by_name
    UNION ALL SELECT NULL, oid FROM by_pattern WHERE oid NOT IN (SELECT oid FROM by_name)
    UNION ALL SELECT position, NULL FROM named WHERE oid IS NULL
),
target AS MATERIALIZED (
    SELECT t.* FROM (
        SELECT x.position, w.text, c.oid, n.nspname::text AS schema_name, c.relname::text AS name, c.relkind::text AS kind,
               pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, {may_maintain} AS may_maintain,
               pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AS may_use_schema, {names} AS names,
               {bytes} AS bytes
        FROM chosen AS x LEFT JOIN wanted_text AS w ON w.position = x.position
        LEFT JOIN pg_catalog.pg_class AS c ON c.oid = x.oid
        LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    ) AS t
    WHERE t.position IS NOT NULL OR t.bytes IS NULL OR t.bytes BETWEEN {least} AND {most}
)"""


@dataclass(frozen=True)
class Selection:
    """Tables by name; and those whose ``schema.name`` a pattern of include has, and none of exclude. Sizes in bytes."""

    tables: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int | None = None
    max_size: int | None = None

    def out_of_size(self, found: int | None) -> str:
        """Why something of that size is not meant, "" if it is; for what was named and not chosen by a pattern."""
        if found is None:
            return ""
        if self.min_size is not None and found < self.min_size:
            return f"its {size(found)} are less than min_size, {size(self.min_size)}"
        return self.too_large(found)

    def too_large(self, found: int | None) -> str:
        """The same for the upper limit alone."""
        if found is not None and self.max_size is not None and found > self.max_size:
            return f"its {size(found)} are more than max_size, {size(self.max_size)}"
        return ""


def read(given: Mapping[str, Any], faults: list[str], names: str = "tables") -> Selection:
    """The selection; what is wrong with it is added to ``faults``. names: the option that has the literal names."""
    wanted, include, exclude = given.get(names), given.get("include"), given.get("exclude") or []
    faults += name_faults(names, wanted or [])
    if wanted is not None and not wanted:
        faults.append(f"{names}: is empty; name at least one")
    if include is not None and not all(include or [""]):
        faults.append("include: give at least one pattern, such as '*' for all tables or 'app.*' for those of a schema")
    if exclude and not include:
        faults.append("exclude: it leaves out what include has, and there is no include")
    if not all(exclude):
        faults.append("exclude: an empty pattern leaves nothing out")
    least, most = given.get("min_size"), given.get("max_size")
    for option, value in (("min_size", least), ("max_size", most)):
        if value is not None and value < 0:
            faults.append(f"{option}: a size is not negative")
    if least is not None and most is not None and least > most:
        faults.append(f"min_size: it is more than max_size ({size(least)} and {size(most)}), which leaves nothing")
    return Selection(tuple(wanted or ()), tuple(include or ()), tuple(exclude), least, most)


def stored(server: Server, selection: Selection, kinds: str = "rm", database_owner: bool = True) -> sql.Composed:
    """CTEs, for use after ``WITH RECURSIVE``; the last is ``target``, with a row for each relation with rows that is chosen.

    A partition is a row of its own: a partitioned table that is named, or that a pattern has, means its partitions. A literal
    name that nothing has is a row whose oid is null. Columns: position (order of the names, null for patterns), text (the name
    as it was written), oid, schema_name, name, kind, owner, may_maintain, may_use_schema, names (its own and those above it, as
    ``schema.name``), bytes (with TOAST; null where somebody has locked it as a whole).

    database_owner: whether the owner of the database may do it (VACUUM, ANALYZE), or the table's only (REINDEX).
    """
    rule = f"({may_maintain(server)}{OWNS_DATABASE if database_owner else ''})"
    texts = [
        sql.SQL("({}, {}::text)").format(sql.Literal(i), sql.Literal(text)) for i, text in enumerate(selection.tables)
    ]
    wanted_text = (
        sql.SQL("wanted_text (position, text) AS (VALUES {})").format(sql.SQL(", ").join(texts))
        if texts
        else sql.SQL("wanted_text (position, text) AS (SELECT NULL::int, NULL::text WHERE false)")
    )
    named = (
        sql.SQL("{}, named AS (SELECT position, oid FROM target_named)").format(
            targets(server, selection.tables, cte="target_named")
        )
        if texts
        else sql.SQL("named (position, oid) AS (SELECT NULL::int, NULL::oid WHERE false)")
    )
    parts = [
        sql.SQL(LOCKED),
        wanted_text,
        named,
        sql.SQL(BY_NAME),
        by_pattern(selection, kinds, partitions=True),
        sql.SQL(STORED).format(
            may_maintain=sql.SQL(rule),
            names=sql.SQL(NAMES),
            bytes=sql.SQL(BYTES),
            least=sql.Literal(selection.min_size or 0),
            most=sql.Literal(2**62 if selection.max_size is None else selection.max_size),
        ),
    ]
    return sql.SQL(", ").join(parts)


def by_pattern(selection: Selection, kinds: str, partitions: bool) -> sql.Composed:
    """The CTE ``by_pattern`` (oid, names). partitions: as relations of their own; otherwise their table stands for them."""
    return sql.SQL(BY_PATTERN).format(
        names=sql.SQL(NAMES),
        kinds=sql.Literal(list(kinds)),
        parts=sql.SQL("true" if partitions else "NOT c.relispartition"),
        include=sql.Literal([regular(text) for text in selection.include]),
        exclude=sql.Literal([regular(text) for text in selection.exclude]),
    )


# As catalog.TARGETS, for what patterns choose: what belongs to a partitioned table is dealt with through it.
SELECTED = """
{by_pattern},
target AS MATERIALIZED (
    SELECT pg_catalog.row_number() OVER (ORDER BY n.nspname, c.relname) - 1 AS position, n.nspname::text AS wanted_schema,
           c.relname::text AS wanted_name, c.oid, n.nspname::text AS schema_name, c.relname::text AS name,
           c.relkind::text AS kind, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, {may_maintain} AS may_maintain,
           pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AS may_use_schema
    FROM by_pattern AS x JOIN pg_catalog.pg_class AS c ON c.oid = x.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
)"""


def selected(server: Server, selection: Selection, kinds: str) -> sql.Composed:
    """The CTE ``target`` of catalog.targets, for the relations of these kinds that patterns choose."""
    pattern = by_pattern(selection, kinds, partitions=False)
    return sql.SQL(SELECTED).format(by_pattern=pattern, may_maintain=sql.SQL(may_maintain(server)))


def regular(pattern: str) -> str:
    """The regular expression of a shell pattern: ``*``, ``?``, ``[abc]`` and ``[!abc]``. Upper and lower case are different."""
    found, position = "", 0
    while position < len(pattern):
        sign, end = pattern[position], pattern.find("]", position + 2)
        if sign == "[" and end > 0:
            inside = pattern[position + 1 : end]
            negated = inside.startswith("!")
            inside = inside[negated:].replace("\\", "\\\\").replace("[", "\\[")
            found += f"[{'^' if negated else ''}{inside}]"
            position = end + 1
            continue
        found += {"*": ".*", "?": "."}.get(sign, sign if sign.isalnum() or sign == "_" else f"\\{sign}")
        position += 1
    return f"^{found}$"


def unmatched(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The patterns that none of the names (``schema.name``) has."""
    return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]


@dataclass(frozen=True)
class LeftOut:
    """Something that a pattern has, and that the present role may not maintain."""

    schema: str
    name: str
    owner: str
    may_use_schema: bool


MOST_NAMED = 3  # schemas or owners in one sentence


def left_out(server: Server, operation: str, found: Sequence[LeftOut]) -> str:
    """One sentence about all that is left out for want of a right, with the GRANT; "" if nothing is."""
    if not found:
        return ""
    user, first = quote(server.user), found[0]
    noun = "1 table" if len(found) == 1 else f"{count(len(found))} tables"
    schemas = sorted({one.schema for one in found})
    closed = sorted({one.schema for one in found if not one.may_use_schema})
    grants = [f"GRANT USAGE ON SCHEMA {_listed(closed)} TO {user}"] if closed else []
    if not server.has(MAINTAIN):
        owners = {one.owner for one in found}
        plain = sorted(owners.difference(server.superusers))
        grants += [f"GRANT {_listed(plain)} TO {user}"] if plain else []
        if len(plain) < len(owners):
            grants.append("what a superuser owns needs another owner: ALTER TABLE … OWNER TO …")
    elif len(found) == 1:
        grants.append(f"GRANT MAINTAIN ON TABLE {display(first.schema, first.name)} TO {user}")
    elif len(schemas) <= MOST_NAMED:
        grants.append(f"GRANT MAINTAIN ON ALL TABLES IN SCHEMA {_listed(schemas)} TO {user}")
    else:
        grants.append(f"GRANT pg_maintain TO {user}")
    such = "" if len(found) == 1 else ", such as"
    return (
        f"{operation}: {noun} that role {user} may not maintain {'is' if len(found) == 1 else 'are'} left out"
        f"{such or ','} {display(first.schema, first.name)}: {'; '.join(grants)}"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(map(quote, names[:MOST_NAMED])) + more


@dataclass(frozen=True)
class Overrides:
    """Thresholds that are others for some objects: patterns with values, later ones before earlier ones."""

    rules: tuple[tuple[str, dict[str, Any]], ...] = field(default=())

    def of(self, names: Sequence[str]) -> dict[str, Any]:
        """The thresholds of something that has one of these names (``schema.name``); empty where nothing is said of it."""
        values: dict[str, Any] = {}
        for pattern, given in self.rules:
            if any(fnmatchcase(name, pattern) for name in names):
                values.update(given)
        return values


def overrides_spec(thresholds: Mapping[str, Mapping[str, Any]]) -> Spec:
    """The option ``overrides`` for these thresholds, which are options of the step as well."""
    own = {name: {key: value for key, value in how.items() if key != "default"} for name, how in thresholds.items()}
    rule = {"match": {"type": "str", "required": True}, **own}
    return Spec({"overrides": {"type": "list", "elements": "dict", "options": rule}})


def read_overrides(given: Mapping[str, Any], faults: list[str]) -> Overrides:
    """The overrides; what is wrong with them is added to ``faults``. Whether a value is right its operation knows."""
    rules = []
    for number, one in enumerate(given.get("overrides") or [], 1):
        values = {name: value for name, value in one.items() if name != "match" and value is not None}
        if not one["match"]:
            faults.append(f"overrides[{number}]: an empty pattern matches nothing")
        elif not values:
            faults.append(f"overrides[{number}]: it changes nothing; give a threshold beside match: {one['match']}")
        rules.append((one["match"], values))
    return Overrides(tuple(rules))
