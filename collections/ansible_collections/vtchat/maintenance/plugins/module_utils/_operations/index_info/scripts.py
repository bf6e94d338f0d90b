# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The script that drops what can be done without, and the one that makes all of it again exactly as it was. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..._checks.review.model import Index
from ..._clean import clean
from ..._postgres.lexer import tokens
from ..._postgres.names import display, quote


def drop(index: Index) -> list[str]:
    """A partitioned index is dropped under a lock that stops everybody: rather give up than have them wait."""
    return ["SET lock_timeout = '5s'", index.drop, "RESET lock_timeout"] if index.partitioned else [index.drop]


def undo(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The statements that make an index again, with its parts. rows: of queries.DEFINITIONS, parents first."""
    made: list[str] = []
    for row in rows:
        made.append(_create(row))
        made += _more(row)
    for row in rows:
        if row["parent_name"] is not None:
            made.append(f"ALTER INDEX {_name(row, 'parent_')} ATTACH PARTITION {_name(row)}")
    return made


def analyzed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The planner's statistics of expressions go with their index."""
    tables = [_name(row, "table_") for row in rows if row["expressions"] and not row["partitioned"]]
    return [f"ANALYZE {table}" for table in dict.fromkeys(tables)]


def _name(row: Mapping[str, Any], of: str = "") -> str:
    return display(row[f"{of}schema"], row[f"{of}name"])


def _create(row: Mapping[str, Any]) -> str:
    """What the server prints, built beside the application, in its tablespace."""
    printed = str(row["definition"])
    if row["tablespace"] is not None:
        where = next((token.start for token in tokens(printed) if token.says("where")), None)
        before, after = (printed, "") if where is None else (printed[:where].rstrip(), f" {printed[where:]}")
        printed = f"{before} TABLESPACE {quote(row['tablespace'])}{after}"
    how = "" if row["partitioned"] else "CONCURRENTLY "
    return re.sub(r"\A(CREATE (?:UNIQUE )?INDEX )", lambda match: match[1] + how, printed)


def _more(row: Mapping[str, Any]) -> list[str]:
    """What CREATE INDEX cannot say."""
    name, made = _name(row), []
    if row["comment"] is not None:
        made.append(f"COMMENT ON INDEX {name} IS {_literal(row['comment'])}")
    for number, target in row["statistics"] or ():
        made.append(f"ALTER INDEX {name} ALTER COLUMN {int(number)} SET STATISTICS {int(target)}")
    if row["clustered"]:
        made.append(f"ALTER TABLE {_name(row, 'table_')} CLUSTER ON {quote(row['name'])}")
    return made + [f"ALTER INDEX {name} DEPENDS ON EXTENSION {quote(one)}" for one in row["extensions"]]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def script(title: str, database: str, parts: Sequence[tuple[str, Sequence[str]]], before: Sequence[str] = ()) -> str:
    """Statements with what each part is about, for psql or any other client that sends one after the other."""
    lines = [
        _remark(f"{title} in the database {quote(database)}."),
        _remark("One statement after the other, each in a transaction of its own: CONCURRENTLY needs that."),
        "SET client_encoding = 'UTF8';",
        "SET standard_conforming_strings = on;",
        *(f"{one};" for one in before),
    ]
    for about, statements in parts:
        lines += ["", _remark(about), *(f"{one};" for one in statements)]
    if not parts:
        lines += ["", _remark("There is nothing to do.")]
    return "\n".join(lines) + "\n"


def _remark(text: str) -> str:
    """A comment of one line, whatever stands in a name."""
    return f"-- {clean(' '.join(text.split()))}"
