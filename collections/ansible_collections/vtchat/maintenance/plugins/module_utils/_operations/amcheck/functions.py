# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The functions of the extension amcheck: which there are, whether the role may call them, and how they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..._errors import OptionError
from ..._postgres.capabilities import AMCHECK, CHECKS_UNIQUE, Feature
from ..._postgres.driver import sql
from ..._postgres.names import display, quote
from ..._postgres.server import Server
from .options import HEAP, PARENT, UNIQUE, Options

VERIFY_HEAP, CHECK_BTREE, CHECK_PARENT, CHECK_GIN = (
    "verify_heapam",
    "bt_index_check",
    "bt_index_parent_check",
    "gin_index_check",
)

# Only what belongs to the extension: somebody else may have made functions of the same names beside them.
FUNCTIONS = """
SELECT p.proname::text AS name, p.pronargs::int AS arguments, pg_catalog.oidvectortypes(p.proargtypes) AS types,
       pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AS may,
       pg_catalog.has_schema_privilege(e.extnamespace, 'USAGE') AS may_use
FROM pg_catalog.pg_extension AS e
JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
JOIN pg_catalog.pg_proc AS p ON d.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.objid
WHERE e.extname = 'amcheck'
"""


@dataclass(frozen=True)
class Function:
    """One function, with the number of its arguments: a newer one of the same name has more."""

    name: str
    arguments: int


HEAPAM = Function(VERIFY_HEAP, 6)
GIN = Function(CHECK_GIN, 1)


def of_btree(depth: frozenset[str]) -> Function:
    """What checks a B-tree so thoroughly."""
    if PARENT in depth:
        return Function(CHECK_PARENT, 4 if UNIQUE in depth else 3)
    return Function(CHECK_BTREE, 3 if UNIQUE in depth else 2)


def wanted(options: Options) -> list[str]:
    """The names of all that a step may call."""
    names = [VERIFY_HEAP, CHECK_BTREE, CHECK_GIN]
    return [*names, CHECK_PARENT] if PARENT in options.depth else names


@dataclass(frozen=True)
class Amcheck:
    """The extension as it is installed. types: of the arguments of each function, as text."""

    server: Server
    types: dict[Function, str]
    allowed: frozenset[Function]
    may_use_schema: bool

    @property
    def schema(self) -> str:
        """Where it is."""
        return self.server.extensions[AMCHECK.name][0]

    @property
    def has_gin(self) -> bool:
        """Whether it checks GIN indexes, too."""
        return GIN in self.types

    def fault(self, depth: frozenset[str], gin: bool) -> str:
        """Why what is to be checked cannot be; "" if it can. gin: whether GIN indexes are."""
        needed = [HEAPAM, of_btree(depth - {UNIQUE}), of_btree(depth), *([GIN] if gin and self.has_gin else [])]
        missing = [one for one in needed if one not in self.types]
        if missing:
            return self._too_old(CHECKS_UNIQUE)
        user = quote(self.server.user)
        grants = [] if self.may_use_schema else [f"GRANT USAGE ON SCHEMA {quote(self.schema)} TO {user}"]
        closed = [self._named(one) for one in dict.fromkeys(needed) if one not in self.allowed]
        if closed:
            grants.append(f"GRANT EXECUTE ON FUNCTION {', '.join(closed)} TO {user}")
        return f"role {user} may not use the extension amcheck: {'; '.join(grants)}" if grants else ""

    def _too_old(self, feature: Feature) -> str:
        if self.server.has(feature):
            return f"the extension amcheck is older than the server and has no {feature.what}: ALTER EXTENSION amcheck UPDATE"
        return f"{UNIQUE}: {feature.missing}"

    def _named(self, function: Function) -> str:
        return f"{quote(self.schema)}.{quote(function.name)}({self.types[function]})"

    def call(self, function: Function, arguments: Sequence[sql.Composable]) -> sql.Composed:
        """The call. Arguments have the types of the function, so that no other one of its name fits as well."""
        return sql.SQL("{}({})").format(sql.Identifier(self.schema, function.name), sql.SQL(", ").join(arguments))

    def shown(self, function: Function, target: str, arguments: Sequence[str]) -> str:
        """The same for people."""
        literal = target.replace("'", "''")
        given = ", ".join([f"'{literal}'::regclass", *arguments])
        return f"{display(self.schema, function.name)}({given})"


def read_functions(server: Server, rows: list[dict[str, object]]) -> Amcheck:
    """From the rows of FUNCTIONS. Raises OptionError where the extension is not there."""
    if not server.has(AMCHECK):
        raise OptionError([AMCHECK.missing])
    found = {Function(str(row["name"]), int(str(row["arguments"]))): row for row in rows}
    return Amcheck(
        server,
        {function: str(row["types"]) for function, row in found.items()},
        frozenset(function for function, row in found.items() if row["may"]),
        all(bool(row["may_use"]) for row in rows),
    )


def flags(function: Function, depth: frozenset[str]) -> list[str]:
    """The arguments after the relation, for a B-tree. rootdescend of the parent's check is for developers of PostgreSQL."""
    if function.name not in (CHECK_BTREE, CHECK_PARENT):
        return []
    given = [HEAP in depth, *([False] if PARENT in depth else []), *([True] if UNIQUE in depth else [])]
    return ["true" if flag else "false" for flag in given]
