# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Names of database objects: reading what a user wrote, quoting what goes into SQL, showing it to people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .._errors import OptionError
from .driver import sql

# NAMEDATALEN - 1: a longer name is cut by the server, silently, and would then mean another object.
MAX_NAME_BYTES = 63

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')
# Every keyword of PostgreSQL 18 that is not unreserved (pg_get_keywords); quote_ident() quotes the same ones.
_KEYWORDS = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case
    cast char character check coalesce collate collation column concurrently constraint create cross
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec
    decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign
    freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect
    interval into is isnull join json json_array json_arrayagg json_exists json_object json_objectagg json_query
    json_scalar json_serialize json_table json_value lateral leading least left like limit localtime
    localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric offset on
    only or order out outer overlaps overlay placing position precision primary real references returning right
    row select session_user setof similar smallint some substring symmetric system_user table tablesample then
    time timestamp to trailing treat trim true union unique user using values varchar variadic verbose when where
    window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot
    xmlserialize xmltable
    """.split()
)


@dataclass(frozen=True)
class Name:
    """A name as the user gave it; without a schema the search_path decides."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"


def parse_name(text: str) -> Name:
    """Read ``table`` or ``schema.table``.

    Every part is taken literally, upper case and spaces included. A part that has a dot or a double quote in it is
    written in double quotes, a quote inside doubled, as in SQL. Raises OptionError.
    """
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(text, position)
        if match is None:
            raise OptionError([f"{text!r} is not a name: write table or schema.table; a part with a dot or a quote "
                               'in it goes into double quotes, such as "my.table"'])  # fmt: skip
        quoted, plain = match.groups()
        parts.append(quoted.replace('""', '"') if quoted is not None else plain.strip())
        position = match.end()
        if position == len(text):
            break
        if text[position] != ".":
            raise OptionError([f"{text!r} is not a name: after a quoted part there can only be a dot"])
        position += 1
    if len(parts) > 2:
        raise OptionError([f"{text!r} has {len(parts)} parts: write table or schema.table; put a part with a dot in "
                           "it into double quotes"])  # fmt: skip
    for part in parts:
        if not part or "\0" in part:
            raise OptionError([f"{text!r} is not a name: a part is empty"])
        if len(part.encode()) > MAX_NAME_BYTES:
            raise OptionError([f"{text!r}: {part!r} is longer than {MAX_NAME_BYTES} bytes, PostgreSQL's limit"])
    return Name(parts[0] if len(parts) == 2 else None, parts[-1])


def name_faults(option: str, names: Sequence[str]) -> list[str]:
    """What is wrong with names that an option has."""
    faults = []
    for text in names:
        try:
            parse_name(text)
        except OptionError as error:
            faults += [f"{option}: {message}" for message in error.errors]
    return faults


def qualified(schema: str, name: str) -> sql.Identifier:
    """The name for use in SQL."""
    return sql.Identifier(schema, name)


def quote(name: str) -> str:
    """One identifier for people: quoted only where SQL would need it."""
    return name if _PLAIN.fullmatch(name) and name not in _KEYWORDS else '"' + name.replace('"', '""') + '"'


def display(schema: str, name: str) -> str:
    """The qualified name for people, and the key under which history remembers the object."""
    return f"{quote(schema)}.{quote(name)}"
