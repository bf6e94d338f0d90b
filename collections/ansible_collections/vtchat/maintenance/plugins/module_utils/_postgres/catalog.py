# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Finding the objects that options name, and what the present role may do with them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import OptionError
from .capabilities import MAINTAIN
from .driver import sql
from .names import Name, display, parse_name, qualified, quote
from .server import Server
from .session import Session

# A CTE: one row per wanted name and in its order; oid is null where nothing visible has the name. Each
# name is looked up for itself, through the index of pg_class, in the schemas of the user's search_path: a join could make
# the planner read all of pg_class, once for each name where its statistics are out of date.
# may_maintain: whether the role may VACUUM, ANALYZE, REFRESH and REINDEX the object; it must also be allowed to name it.
TARGETS = """
{cte} AS MATERIALIZED (
    SELECT w.position, w.wanted_schema, w.wanted_name, c.oid, n.nspname::text AS schema_name, c.relname::text AS name,
           c.relkind::text AS kind, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
           {may_maintain} AS may_maintain,
           pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AS may_use_schema
    FROM (SELECT w.*, (
              SELECT f.oid FROM pg_catalog.unnest(CASE WHEN w.wanted_schema IS NULL THEN {path}::text[]
                                                 ELSE ARRAY[w.wanted_schema] END) WITH ORDINALITY AS s (name, place),
                  LATERAL (SELECT r.oid FROM pg_catalog.pg_class AS r WHERE r.relname = w.wanted_name::name AND r.relnamespace = (
                      SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = s.name::name) OFFSET 0) AS f
              ORDER BY s.place LIMIT 1) AS found
          FROM (VALUES {wanted}) AS w (position, wanted_schema, wanted_name)) AS w
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = w.found
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
)"""

MAY_MAINTAIN = "pg_catalog.pg_has_role(c.relowner, 'USAGE')"
MAY_MAINTAIN_17 = MAY_MAINTAIN + " OR pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')"

NAMES = """
SELECT n.nspname::text AS schema_name, c.relname::text AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = ANY (%(kinds)s) AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
ORDER BY 1, 2 LIMIT 10000
"""

# pg_class.relkind, in the words of an error message.
KINDS = {"r": "table", "p": "partitioned table", "m": "materialized view", "v": "view", "f": "foreign table", "i": "index",
         "I": "partitioned index", "S": "sequence", "c": "composite type", "t": "TOAST table"}  # fmt: skip


@dataclass(frozen=True)
class Relation:
    """A relation that exists. kind is pg_class.relkind."""

    oid: int
    schema: str
    name: str
    kind: str
    owner: str
    may_maintain: bool

    @property
    def display(self) -> str:
        return display(self.schema, self.name)

    @property
    def identifier(self) -> sql.Identifier:
        return qualified(self.schema, self.name)


def may_maintain(server: Server) -> str:
    """A condition on ``pg_class AS c``: whether the present role may maintain the relation."""
    return MAY_MAINTAIN_17 if server.has(MAINTAIN) else MAY_MAINTAIN


def targets(server: Server, names: Sequence[str], cte: str = "target") -> sql.Composed:
    """The CTE ``target`` for these names, to be used as ``WITH {targets} SELECT … FROM target``."""
    wanted = [parse_name(text) for text in names]
    rows = [
        sql.SQL("({}, {}::text, {}::text)").format(sql.Literal(i), sql.Literal(name.schema), sql.Literal(name.name))
        for i, name in enumerate(wanted)
    ]
    rule = may_maintain(server)
    path = sql.Literal(server.schemas)
    return sql.SQL(TARGETS).format(
        cte=sql.Identifier(cte), may_maintain=sql.SQL(rule), wanted=sql.SQL(", ").join(rows), path=path
    )


def relation(row: dict[str, Any]) -> Relation:
    """The Relation from a row of the CTE ``target`` (oid, schema_name, name, kind, owner, may_maintain)."""
    return Relation(row["oid"], row["schema_name"], row["name"], row["kind"], row["owner"], row["may_maintain"])


def not_found(session: Session, text: str, kinds: str) -> OptionError:
    """The error for a name that nothing has, with names that are near to it. kinds: the letters of pg_class.relkind."""
    wanted = parse_name(text)
    rows = session.rows(NAMES, {"kinds": list(kinds)})
    near = near_matches(wanted, [Name(row["schema_name"], row["name"]) for row in rows])
    what = KINDS[kinds[0]]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    where = f"in schema {quote(wanted.schema)}" if wanted.schema else "in the search_path"
    return OptionError(
        [f"there is no {what} {quote(wanted.name)} {where} of database {quote(session.server.database)}{hint}"]
    )


def near_matches(wanted: Name, existing: list[Name]) -> list[str]:
    """Up to three names that somebody could have meant: same letters in another case or schema, or a few letters off."""
    scores = []
    for name in existing:
        ratio = difflib.SequenceMatcher(None, wanted.name.lower(), name.name.lower()).ratio()
        if ratio >= 0.7:
            same_schema = wanted.schema is None or wanted.schema == name.schema
            scores.append((-ratio, not same_schema, display(name.schema or "", name.name)))
    return [name for _ratio, _schema, name in sorted(scores)[:3]]


def wrong_kind(found: Relation, wanted: str) -> OptionError:
    """The error for a name that belongs to another kind of object."""
    return OptionError([f"{found.display} is a {KINDS.get(found.kind, found.kind)}, not a {wanted}"])


def schema_fault(server: Server, found: Relation) -> str:
    """What to say when the present role may not use the schema of a relation."""
    schema, user = quote(found.schema), quote(server.user)
    return f"role {user} may not use schema {schema}: GRANT USAGE ON SCHEMA {schema} TO {user}"


def maintain_grant(server: Server, found: Relation) -> str:
    """The GRANT that is missing for the present role to maintain the relation."""
    if server.has(MAINTAIN):
        return f"GRANT MAINTAIN ON TABLE {found.display} TO {quote(server.user)}"
    if found.owner in server.superusers:
        return (
            f"its owner {quote(found.owner)} is a superuser, which nobody should become for that: ALTER TABLE {found.display} "
            "OWNER TO another role"
        )
    return f"GRANT {quote(found.owner)} TO {quote(server.user)}"
