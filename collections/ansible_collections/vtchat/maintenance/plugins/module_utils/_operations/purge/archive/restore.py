# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The script that puts archived rows back. It may run twice, and over rows that are there already: none comes double."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...._postgres.driver import sql

# Settings that decide how values are written as text, and how they are read. The path decides about names of objects in
# values (regclass); money is written by lc_monetary.
TEXT_SETTINGS = ("client_encoding", "DateStyle", "IntervalStyle", "TimeZone", "lc_monetary", "xmloption")

SCRIPT = """-- Puts the rows of {shown} back, all of them or none:
--   gzip -dc *.copy.gz | psql --file=restore.sql "the database"
-- {rule}
\\set ON_ERROR_STOP on
BEGIN;
{settings}
CREATE TEMPORARY TABLE restored ON COMMIT DROP AS SELECT {columns} FROM {table} LIMIT 0;
\\copy pg_temp.restored FROM PSTDIN WITH (ENCODING {encoding})
{insert}
COMMIT;
"""

WITH_KEY = "A row whose key is there stays as it is."
INSERT_BY_KEY = """INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM pg_temp.restored ON CONFLICT DO NOTHING;"""

# Without a key the same row may be there several times: so many are missing as the table has fewer of it than the files.
WITHOUT_KEY = "The table has no key: a row is put back as often as the table has it less often than the files."
INSERT_MISSING = """INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM (
    SELECT *, ROW({columns})::pg_catalog.text AS "whole row",
           pg_catalog.row_number() OVER (PARTITION BY ROW({columns})::pg_catalog.text) AS "its number" FROM pg_temp.restored
) AS r LEFT JOIN (
    SELECT ROW({columns})::pg_catalog.text AS "row there", pg_catalog.count(*) AS "how often" FROM {table} GROUP BY 1
) AS t ON t."row there" OPERATOR(pg_catalog.=) r."whole row"
WHERE r."its number" OPERATOR(pg_catalog.>) COALESCE(t."how often", 0);"""


@dataclass(frozen=True)
class Writing:
    """How values were written: settings of TEXT_SETTINGS, the search_path, and the encoding of the files."""

    settings: Mapping[str, str]
    schemas: Sequence[str]
    encoding: str


def script(shown: str, table: sql.Composable, columns: Sequence[str], key: bool, writing: Writing) -> sql.Composed:
    """The script, for psql.

    key: whether the table has a key that makes a row that is there already known. The script itself is in the encoding of the
    settings.
    """
    parts = {"table": table, "columns": sql.SQL(", ").join(map(sql.Identifier, columns))}
    insert = sql.SQL(INSERT_BY_KEY if key else INSERT_MISSING).format(**parts)
    # Temporary tables of another session mean nothing here.
    path = [sql.Identifier(name) for name in writing.schemas if not name.startswith("pg_temp")] or [
        sql.Identifier("pg_catalog")
    ]
    lines = [
        sql.SQL("SET LOCAL {} = {};").format(sql.SQL(name), sql.Literal(value))
        for name, value in writing.settings.items()
    ]
    lines.append(sql.SQL("SET LOCAL search_path = {};").format(sql.SQL(", ").join(path)))
    return sql.SQL(SCRIPT).format(
        # A line break in a name would end the comment.
        shown=sql.SQL(" ".join(shown.split())),
        rule=sql.SQL(WITH_KEY if key else WITHOUT_KEY),
        settings=sql.SQL("\n").join(lines),
        insert=insert,
        encoding=sql.Literal(writing.encoding),
        **parts,
    )
