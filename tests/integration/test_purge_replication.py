# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge of published tables: what the server would refuse in the middle is refused before, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.runs import only, perform
from tests.servers import Database, Server

KEYS = ["", "PRIMARY KEY (id)", "PRIMARY KEY (id, b)", "PRIMARY KEY (id) DEFERRABLE", "UNIQUE (id)", "UNIQUE (id, b)"]
IDENTITIES = ["DEFAULT", "FULL", "NOTHING", "INDEX"]
COLUMNS = ["", "(id)", "(id, b)", "(id, at)"]
FILTERS = ["", "WHERE (id > 0)", "WHERE (c > 0)", "WHERE (b > 0 AND id < 5)"]
PUBLISHED = ["insert", "insert, update", "delete", "insert, update, delete"]
PUBLICATION = st.fixed_dictionaries(
    {
        "of": st.sampled_from(["ALL", "SCHEMA", "t", "t", "t", "part"]),
        "columns": st.sampled_from(COLUMNS),
        "filter": st.sampled_from(FILTERS),
        "publish": st.sampled_from(PUBLISHED),
        "root": st.booleans(),
        "generated": st.sampled_from(["none", "stored"]),
    }
)
TABLE = st.fixed_dictionaries(
    {
        "key": st.sampled_from(KEYS),
        "identity": st.sampled_from(IDENTITIES),
        "divided": st.booleans(),
        "generated": st.sampled_from(["", "STORED", "VIRTUAL"]),
    }
)


def purge(database: Database, check: bool = False, **options: Any) -> dict[str, Any]:
    return only(perform("purge", database.dsn, check, table="app.t", column="at", history=False, **options))


def make(database: Database, table: dict[str, Any], publications: list[dict[str, Any]], version: int) -> None:
    """A table with an expired row, published as well as the server allows."""
    for (name,) in database.sql("SELECT pubname FROM pg_publication"):
        database.sql(f"DROP PUBLICATION {name}")
    database.sql("DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA app")
    kind = table["generated"] if version >= 18 else table["generated"].replace("VIRTUAL", "STORED")
    columns = f"id int NOT NULL, b int NOT NULL, c int, at timestamptz{', g int GENERATED ALWAYS AS (2) ' + kind if kind else ''}"
    key = table["key"] if not (table["divided"] and "DEFERRABLE" in table["key"]) else ""
    divided = " PARTITION BY RANGE (id)" if table["divided"] else ""
    database.sql(f"CREATE TABLE app.t ({columns}{', ' + key if key else ''}){divided}")
    leaf = "app.t"
    if table["divided"]:
        leaf = "app.part"
        database.sql(f"CREATE TABLE app.part (dropped int, {columns}); ALTER TABLE app.part DROP dropped")
        database.sql("ALTER TABLE app.t ATTACH PARTITION app.part FOR VALUES FROM (0) TO (100)")
    indexes = database.sql(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND indisunique AND indimmediate",
        [leaf],
    )
    identity = table["identity"].replace(
        "INDEX", f"USING INDEX {indexes[0][0].split('.')[-1]}" if indexes else "NOTHING"
    )
    database.sql(f"ALTER TABLE {leaf} REPLICA IDENTITY {identity}")
    database.sql("INSERT INTO app.t (id, b, c, at) VALUES (1, 1, 1, '2000-01-01')")
    for number, publication in enumerate(publications):
        publish(database, number, publication, leaf, version)


def publish(database: Database, number: int, publication: dict[str, Any], leaf: str, version: int) -> None:
    with_ = [f"publish = '{publication['publish']}'", f"publish_via_partition_root = {publication['root']}"]
    if version >= 18:
        with_.append(f"publish_generated_columns = {publication['generated']}")
    what = {"ALL": "FOR ALL TABLES", "SCHEMA": "FOR TABLES IN SCHEMA app"}.get(publication["of"])
    if what is None:
        name = leaf if publication["of"] == "part" else "app.t"
        more = f"{publication['columns']} {publication['filter']}" if version >= 15 else ""
        what = f"FOR TABLE {name} {more}"
    with suppress(psycopg2.Error):  # what the server does not allow at all is not our matter
        database.sql(f"CREATE PUBLICATION p{number} {what} WITH ({', '.join(with_)})")


def refuses(database: Database) -> bool:
    """Whether the server refuses to delete the row."""
    connection = database.connect()
    connection.autocommit = False
    try:
        connection.cursor().execute("DELETE FROM app.t")
    except psycopg2.errors.ObjectNotInPrerequisiteState:
        return True
    except psycopg2.errors.InvalidColumnReference:
        return True
    finally:
        connection.close()
    return False


@pytest.fixture(params=[18, 15])
def published(request: pytest.FixtureRequest) -> Iterator[tuple[Database, int]]:
    """A database for publications on a server of that version: filters are from 15 on, generated columns from 18 on."""
    server: Server = request.getfixturevalue("server" if request.param == 18 else "postgres15")
    database = server.create_database()
    database.sql("SET client_min_messages = error")
    yield database, request.param
    database.close()


def test_what_the_server_would_refuse_is_refused_before(published: tuple[Database, int]) -> None:
    """And nothing else is; and where the message has a statement, that is the way out."""
    database, version = published

    @example(
        {"key": "UNIQUE (id)", "identity": "DEFAULT", "divided": False, "generated": ""},
        [
            {
                "of": "t",
                "columns": "",
                "filter": "WHERE (c > 0)",
                "publish": "delete",
                "root": False,
                "generated": "none",
            }
        ],
    )
    @given(TABLE, st.lists(PUBLICATION, min_size=1, max_size=2))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def check(table: dict[str, Any], publications: list[dict[str, Any]]) -> None:
        make(database, table, publications, version)
        refused = refuses(database)
        for planned in (True, False):
            action = purge(database, planned) if refused or planned else None
            if action:
                assert (action["outcome"] == "failed") == refused, action
        if not refused:
            return
        assert action
        assert action["reason"].startswith(("the publication p", "the row filter of the publication p"))
        way = re.search(r"ALTER TABLE app.\w+ REPLICA IDENTITY (FULL|USING INDEX \w+)", action["reason"])
        if way and len(publications) == 1 and not publications[0]["columns"]:
            database.sql(way[0])
            again = purge(database)
            assert again["outcome"] == "done" or "generated" in again["reason"], (way[0], again)

    check()


def test_tables_that_rows_take_with_them(database: Database) -> None:
    """A published child would stop the purge as well, whether its rows go or are changed, by themselves or as ``with`` says."""
    database.sql(
        "SET client_min_messages = error; CREATE SCHEMA app;"
        "CREATE TABLE app.t (id int PRIMARY KEY, at timestamptz); INSERT INTO app.t VALUES (1, '2000-01-01')"
    )
    for action, change in (("CASCADE", "deletes"), ("SET NULL", "updates"), ("RESTRICT", "deletes")):
        database.sql(f"CREATE TABLE app.c (t int REFERENCES app.t ON DELETE {action}); INSERT INTO app.c VALUES (1)")
        database.sql("CREATE PUBLICATION p FOR ALL TABLES")
        children = ["app.c"] if action == "RESTRICT" else []
        found = purge(database, True, **{"with": children})
        assert found["outcome"] == "failed"
        assert f"the publication p tells {change} of app.c" in found["reason"]
        database.sql("ALTER PUBLICATION p SET (publish = 'insert')")
        assert purge(database, True, **{"with": children})["outcome"] == "planned"
        database.sql("DROP PUBLICATION p; DROP TABLE app.c")
