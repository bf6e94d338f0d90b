# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that are legal in PostgreSQL and hard everywhere else, in every option that takes one."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.names import display
from tests.runs import only, perform
from tests.servers import Database

NAMES = [
    "MixedCase",
    "two words",
    "select",
    'quo"te',
    "dot.ted",
    "it's; DROP TABLE x; --",
    "Đơn hàng 表 😀",
    "%s {} %(x)s",
    "back\\slash",
    "x" * 63,
    "đ" * 31 + "x",
]


def written(*parts: str) -> str:
    """A name as a user must write it: quoted only where a dot or a quote would be taken for something else."""
    quoted = ['"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part for part in parts]
    return ".".join(quoted)


def statement(text: str, **names: str) -> Any:
    return SQL(text).format(**{key: Identifier(name) for key, name in names.items()})


@pytest.mark.parametrize("name", NAMES)
def test_every_operation(database: Database, name: str) -> None:
    """Schema, table, column, view, role and constraint all have that name; public has tables that must stay as they are."""
    role = database.role(name[:40].encode()[:40].decode(errors="ignore"))
    view = written(name, f"v{name}"[:31])
    for schema in (name, "public"):
        database.sql(statement("CREATE SCHEMA IF NOT EXISTS {s}", s=schema))
        database.sql(statement("CREATE TABLE {s}.{t} ({c} timestamptz)", s=schema, t=name, c=name))
        database.sql(
            statement(
                "INSERT INTO {s}.{t} SELECT now() - '1 day'::interval FROM generate_series(1, 100)", s=schema, t=name
            )
        )
    database.sql(
        statement(
            "CREATE MATERIALIZED VIEW {s}.{v} AS SELECT {c} FROM {s}.{t}", s=name, t=name, c=name, v=f"v{name}"[:31]
        )
    )
    for text in (
        "ALTER SCHEMA {s} OWNER TO {r}",
        "ALTER TABLE {s}.{s} OWNER TO {r}",
        "ALTER MATERIALIZED VIEW {s}.{v} OWNER TO {r}",
    ):
        database.sql(statement(text, s=name, r=role, v=f"v{name}"[:31]))
    database.sql(statement("GRANT CREATE ON DATABASE {d} TO {r}", d=database.name, r=role))
    steps = [
        {"purge": {"table": written(name, name), "column": name, "max_rows": 40}},
        {"refresh": {"view": view}},
        {"analyze": {"tables": [written(name, name), view]}},
    ]
    options: dict[str, Any] = {"plan": name, "steps": steps, "role": role}
    assert [one["outcome"] for one in perform("run", database.dsn, True, **options)["actions"]] == ["planned"] * 4
    result = perform("run", database.dsn, **options)
    assert [one["outcome"] for one in result["actions"]] == ["done"] * 4, result
    assert result["warnings"] == []
    assert result["actions"][0]["target"] == display(name, name)
    assert database.sql(statement("SELECT count(*) FROM {s}.{t}", s=name, t=name)) == [(60,)]
    assert database.sql(statement("SELECT count(*) FROM {s}.{v}", s=name, v=f"v{name}"[:31])) == [(60,)]
    assert database.sql(statement("SELECT count(*) FROM public.{t}", t=name)) == [(100,)]
    [recorded] = perform("history_info", database.dsn, plan=name, target=display(name, name), role=role)["runs"]
    assert recorded["role"] == role
    assert perform("history_info", database.dsn, target=display("public", name), role=role)["runs"] == []


@pytest.mark.parametrize("name", NAMES)
def test_found_through_the_search_path(database: Database, name: str) -> None:
    database.sql(
        statement(
            "CREATE SCHEMA {s}; CREATE TABLE {s}.{s} ({s} date); INSERT INTO {s}.{s} VALUES ('2000-01-01')", s=name
        )
    )
    database.sql(statement("ALTER DATABASE {d} SET search_path = {s}, public", d=database.name, s=name))
    action = only(perform("purge", database.dsn, table=written(name), column=name, timezone="UTC"))
    assert (action["target"], action["rows"]) == (display(name, name), 1)


@pytest.mark.parametrize("name", NAMES)
def test_messages_quote_as_sql_does(database: Database, name: str) -> None:
    database.sql(statement("CREATE TABLE {t} ({t} int)", t=name))
    shown = database.value("SELECT quote_ident(%s)", [name])
    assert (
        f"column {shown} is of type integer"
        in only(perform("purge", database.dsn, table=written(name), column=name))["reason"]
    )
    assert shown in only(perform("purge", database.dsn, table=written(name), column="no"))["reason"]
    assert (
        f"public.{shown}" in only(perform("purge", database.dsn, table=written(f"{name[:-2]}a"), column=name))["reason"]
    )


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("purge", {"table": "{}", "column": "c"}),
        ("purge", {"table": "{}.t", "column": "c"}),
        ("purge", {"table": "s.{}", "column": "c"}),
        ("refresh", {"view": "{}"}),
        ("refresh", {"views": ["v", "{}"]}),
        ("analyze", {"tables": ["t", "s.{}"]}),
        ("run", {"plan": "p", "steps": [{"analyze": {"tables": ["{}"]}}]}),
    ],
)
@pytest.mark.parametrize("name", ["x" * 64, "đ" * 32])
def test_longer_than_the_server_keeps_is_refused(
    database: Database, module: str, options: dict[str, Any], name: str
) -> None:
    """The server would cut it, and take another object."""
    database.sql(f'CREATE TABLE "{name[:63]}" (c date)' if name.isascii() else f'CREATE TABLE "{name[:31]}" (c date)')

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{}", name)
        if isinstance(value, list):
            return [filled(one) for one in value]
        return {key: filled(one) for key, one in value.items()} if isinstance(value, dict) else value

    with pytest.raises(OptionError, match="63 bytes"):
        perform(module, database.dsn, **filled(options))


@pytest.mark.parametrize("option", ["column", "role"])
def test_other_names_longer_than_the_server_keeps(database: Database, option: str) -> None:
    database.sql(f'CREATE TABLE t ("{"x" * 63}" date)')
    options: dict[str, Any] = {"column": "x" * 63, "role": "x" * 63, option: "x" * 64}
    with pytest.raises(OptionError, match=f"{option}: .* 63 bytes"):
        perform("purge", database.dsn, table="t", timezone="UTC", **options)
