# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A random walk over definitions, data, structure, settings, rights and sessions: a view that is left alone is never stale.

REFRESH_WALK_SECONDS makes it longer, REFRESH_WALK_SEED (0: any) lets it go elsewhere; REFRESH_WALK_BINARIES is the directory
of another version of PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.integration.test_refresh import Runner
from tests.raw import FLUSH, RawClient
from tests.runs import until
from tests.servers import PrivateServer, Servers

SECONDS = float(os.environ.get("REFRESH_WALK_SECONDS", "25"))
SEED = int(os.environ.get("REFRESH_WALK_SEED", "1")) or random.SystemRandom().randrange(1, 10**6)
BINARIES = os.environ.get("REFRESH_WALK_BINARIES")
VIEWS = 20

# keeper owns the tables, owner the views; writer is somebody whose sessions change data.
SCHEMA = """
CREATE SCHEMA w; CREATE EXTENSION citext SCHEMA w;
CREATE TYPE w.mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN w.small AS int; CREATE TYPE w.pair AS (a int, b text);
CREATE TABLE w.a (id int PRIMARY KEY, g int, t text, at timestamptz DEFAULT '2024-01-31 12:00+00', m w.mood DEFAULT 'ok',
    p w.pair DEFAULT ROW(1, 'x'), c w.citext DEFAULT 'C', j jsonb DEFAULT '{"k": 1}', s w.small DEFAULT 5, spare int DEFAULT 3);
CREATE TABLE w.b (id int, g int, t text, d date DEFAULT '2024-02-03', f float8 DEFAULT 0.1,
    twice int GENERATED ALWAYS AS (g * 2) VIRTUAL);
CREATE TABLE w.q (id int, g int) PARTITION BY RANGE (id);
CREATE TABLE w.q1 PARTITION OF w.q FOR VALUES FROM (0) TO (50); CREATE TABLE w.q2 (id int, g int);
CREATE TABLE w.up (id int, g int); CREATE TABLE w.down () INHERITS (w.up); CREATE TABLE w.other (id int, g int);
CREATE FUNCTION w.steady(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';
CREATE FUNCTION w.looks(int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT sum(g) FROM w.b); END';
CREATE TEXT SEARCH CONFIGURATION w.words (COPY = pg_catalog.english);
CREATE VIEW w.va AS SELECT id, g, t FROM w.a WHERE g < 5; CREATE VIEW w.vv AS SELECT g, count(*) AS n FROM w.va GROUP BY g;
CREATE MATERIALIZED VIEW w.base AS SELECT g, count(*)::int AS id FROM w.b GROUP BY g; CREATE UNIQUE INDEX ON w.base (g);
INSERT INTO w.a SELECT i, i % 6, 'Running Ab ' || i FROM generate_series(1, 40) AS i;
INSERT INTO w.b SELECT i, i % 5, 'b' || i % 3 FROM generate_series(1, 30) AS i;
INSERT INTO w.q SELECT i, i % 4 FROM generate_series(1, 20) AS i; INSERT INTO w.q2 VALUES (60, 1);
INSERT INTO w.up VALUES (1, 1); INSERT INTO w.down VALUES (2, 2); INSERT INTO w.other VALUES (1, 4);
"""

SOURCES = ["w.a", "w.b", "w.q", "w.up", "w.va", "w.base", "(SELECT id, g FROM w.a UNION SELECT id, g FROM w.q)",
           "(SELECT g, n AS id FROM w.vv)", "(SELECT DISTINCT ON (g) id, g FROM w.b ORDER BY g, id)",
           "(WITH c AS (SELECT * FROM w.a) SELECT id, g FROM c EXCEPT SELECT id, g FROM w.b)"]  # fmt: skip
GENERAL = ["{x}.g", "{x}.id + 1", "coalesce({x}.g, 0)", "CASE WHEN {x}.g > 2 THEN 'many' ELSE 'few' END", "{x}.id::text",
           "greatest({x}.id, {x}.g)", "({x}.*) IS NOT NULL", "row_number() OVER (ORDER BY {x}.id, {x}.g)", "{x}.g IN (1, 2)",
           "(SELECT max(g) FROM w.other)", "w.steady({x}.g)", "w.looks({x}.g)", "EXISTS (SELECT FROM w.q WHERE q.g = {x}.g)",
           "sum({x}.g) OVER (PARTITION BY {x}.g)", "ARRAY[{x}.id, {x}.g]", "ROW({x}.id, {x}.g) < ROW(7, 2)",
           "{x}.tableoid::int"]  # fmt: skip
OF_A = ["lower({x}.t)", "{x}.t LIKE '%Ab 1%'", "age({x}.at, '2023-02-28 23:00+00')", "timezone('Europe/Berlin', {x}.at)",
        "to_tsvector('w.words', {x}.t)", "{x}.m", "{x}.m::text", "{x}.m > 'sad'", "{x}.p", "({x}.p).a",
        "{x}.p = ROW(1, 'x')::w.pair",
        "{x}.c", "{x}.c = 'c'", "{x}.j ->> 'k'", "{x}.s + 1", "{x}.at::text", "upper({x}.t) || 'x'", "{x}.spare",
        "quote_ident('a' || {x}.g::text)",
        "{x}.xmax::text", "initcap({x}.t) COLLATE \"C\"", "jsonb_path_query_first({x}.j, '$.k')",
        "ARRAY[{x}.c] = ARRAY['c'::w.citext]"]  # fmt: skip
OF_B = ["{x}.twice", "{x}.d::text", "{x}.f::text", "{x}.d + 1", "to_char({x}.d, 'Mon')", "{x}.f * 2", "{x}.t || {x}.g"]
TABLES = ["w.a", "w.b", "w.q", "w.q1", "w.q2", "w.up", "w.down", "w.other"]


def definition(chance: random.Random) -> str:
    """A random query without an open order, so that the same data give the same rows."""
    first, second = chance.choice(SOURCES), chance.choice(SOURCES)
    more = {"w.a": OF_A, "w.b": OF_B}.get(first, [])
    columns = chance.sample(GENERAL, chance.randint(1, 3)) + chance.sample(more, min(len(more), chance.randint(0, 2)))
    text = [f"{column.format(x='x')} AS c{number}" for number, column in enumerate(columns)]
    kind = chance.random()
    if kind < 0.25:
        total = chance.choice(
            ["count(*)", "sum(x.id)", "count(DISTINCT x)", "array_agg(x.id ORDER BY x.id)", "max(x.g)"]
        )
        return f"SELECT x.g, {total} AS n FROM {first} AS x GROUP BY x.g"
    if kind < 0.35:
        return f"SELECT DISTINCT x FROM {first} AS x" if first in ("w.a", "w.up") else f"SELECT * FROM {first} AS x"
    if kind < 0.65:
        join = chance.choice(["JOIN", "LEFT JOIN", "FULL JOIN"])
        return f"SELECT {', '.join(text)}, y.id AS yid FROM {first} AS x {join} {second} AS y ON x.g = y.id"
    return f"SELECT {', '.join(text)} FROM {first} AS x" + chance.choice(
        ["", " WHERE x.g > 1", " ORDER BY x.id LIMIT 1000"]
    )


class Walk:
    """One database on its way. log says what was done, for a failure."""

    def __init__(self, runner: Runner, chance: random.Random) -> None:
        self.runner, self.chance, self.log = runner, chance, [f"seed {SEED}"]
        self.proved = self.refreshed = self.number = self.events = 0
        self.doubts: dict[str, int] = {}
        self.owner, self.writer = (runner.database.role(name) for name in ("owner", "writer"))
        runner.database._connection.close()
        kind = "VIRTUAL" if int(runner.sql("SHOW server_version_num")[0][0]) >= 180000 else "STORED"
        runner.sql(SCHEMA.replace("VIRTUAL", kind), f"GRANT ALL ON SCHEMA w TO {self.owner}, {self.writer}",
                   f"GRANT ALL ON ALL TABLES IN SCHEMA w TO {self.owner}, {self.writer}")  # fmt: skip
        for _view in range(VIEWS):
            self.make_view()

    def make_view(self) -> None:
        """Another view."""
        self.number += 1
        name, query = f"w.m{self.number}", definition(self.chance)
        with contextlib.suppress(psycopg2.Error):
            self.runner.sql(
                f"CREATE MATERIALIZED VIEW {name} AS {query}", f"ALTER MATERIALIZED VIEW {name} OWNER TO {self.owner}"
            )
            self.log.append(f"{name}: {query}")
            self.runner.options["views"].append(name)

    def drop_view(self, name: str) -> None:
        self.runner.options["views"].remove(name)
        with contextlib.suppress(psycopg2.Error):
            self.runner.sql(f"DROP MATERIALIZED VIEW {name}")

    def renew(self) -> None:
        """Other views in the place of those that nothing can ever be proved of, and of one more."""
        doubted = [view for view in self.runner.options["views"] if self.runner.state.get(view, {}).get("doubt")]
        self.doubts = {view: self.doubts.get(view, 0) + 1 for view in doubted}
        old = [view for view, times in self.doubts.items() if times > 2] or self.chance.choices(
            self.runner.options["views"]
        )
        for view in old:
            self.drop_view(view)
        while len(self.runner.options["views"]) < VIEWS:
            self.make_view()

    def do(self, *statements: str) -> None:
        """Try them one after the other, in a session that ends; what fails changes nothing."""
        self.log.append("; ".join(statements))
        with contextlib.closing(self.runner.database.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                with contextlib.suppress(psycopg2.Error):
                    cursor.execute(statement)
            pid = connection.info.backend_pid
        self.runner.wait_until_gone(pid)

    def step(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Run, and compare every view that is left alone with a recomputation."""
        with self.runner.session() as session:
            self.runner.sleep = sleep
            actions = self.runner.decide(session)
            for action in actions:
                if action.verdict == "unchanged":
                    self.compare(action.target)
                    self.proved += 1
                elif action.verdict is None:
                    self.refreshed += 1
                    with contextlib.suppress(Exception):  # a definition that fails now
                        self.runner.execute(session, action)
            pid = session.server.backend_pid
        self.runner.wait_until_gone(pid)

    def compare(self, view: str) -> None:
        with contextlib.closing(self.runner.database.connect()) as connection, connection.cursor() as cursor:
            try:
                cursor.execute("SET search_path = ''")
                cursor.execute("SELECT rtrim(pg_get_viewdef(%s::regclass), ';')", [view])
                query = cursor.fetchone()[0]
                cursor.execute(f"SET ROLE {self.owner}")
                cursor.execute(f"SELECT v::text FROM {view} AS v")
                rows = Counter(cursor.fetchall())
                cursor.execute(f"SELECT v::text FROM ({query}) AS v")
            except psycopg2.Error:  # a definition that fails now, or a lock of a prepared transaction
                return
            assert rows == Counter(cursor.fetchall()), "\n".join([*self.log[-60:], f"{view} is stale: {query}"])

    # What happens to a database

    def change(self) -> str:
        """A statement that changes data."""
        table, number = self.chance.choice(TABLES), self.chance.randint(1, 70)
        return self.chance.choice([
            f"INSERT INTO {table} (id, g) VALUES ({number}, {number % 7})", f"UPDATE {table} SET g = g + 1 WHERE id = {number}",
            f"DELETE FROM {table} WHERE id % 9 = {number % 9}", f"TRUNCATE {table}", "REFRESH MATERIALIZED VIEW w.base",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY w.base", "UPDATE w.a SET t = upper(t) WHERE id < 4",
            f"INSERT INTO w.a (id, g, c, m) VALUES ({number + 100}, 1, 'c', 'sad')",
            "UPDATE w.a SET c = 'c', spare = id WHERE id < 9",
        ])  # fmt: skip

    def structure(self) -> list[str]:
        table, column = self.chance.choice(TABLES), f"c{self.chance.randint(1, 10**6)}"
        return self.chance.choice([
            [f"ALTER TABLE {table} ADD {column} int DEFAULT 4"], [f"ALTER TABLE {table} DROP COLUMN spare"],
            [f"ALTER TABLE {table} ADD {column} int", f"ALTER TABLE {table} DROP COLUMN {column}"],
            [f"ALTER TABLE {table} ADD spare int DEFAULT 2"], ["ALTER TABLE w.other ALTER g TYPE bigint"],
            ["ALTER TABLE w.q ATTACH PARTITION w.q2 FOR VALUES FROM (50) TO (90)"], ["ALTER TABLE w.q DETACH PARTITION w.q2"],
            ["ALTER TABLE w.down NO INHERIT w.up"], ["ALTER TABLE w.down INHERIT w.up"], [f"VACUUM FULL {table}"],
            ["ALTER TABLE w.b ALTER twice SET EXPRESSION AS (g * 3)"], ["ALTER TABLE w.b ALTER twice SET EXPRESSION AS (g * 2)"],
            ["CREATE OR REPLACE VIEW w.va AS SELECT id, g, t FROM w.a WHERE g < 4"],
            ["CREATE OR REPLACE VIEW w.va AS SELECT id, g, t FROM w.a WHERE g < 5"],
            [f"CREATE INDEX ON {table} (g)"], [f"ANALYZE {table}"], [f"VACUUM {table}"],
            ["ALTER TYPE w.mood RENAME VALUE 'sad' TO 'blue'"], ["ALTER TYPE w.mood RENAME VALUE 'blue' TO 'sad'"],
            ["ALTER TYPE w.mood ADD VALUE IF NOT EXISTS 'worst' BEFORE 'ok'"],
            [f"ALTER TYPE w.pair ADD ATTRIBUTE {column} int CASCADE"], [f"ALTER TYPE w.pair ADD ATTRIBUTE {column} int",
             f"ALTER TYPE w.pair DROP ATTRIBUTE {column}"],
            ["ALTER TABLE w.other RENAME TO spare", "ALTER TABLE w.down RENAME TO other", "ALTER TABLE w.spare RENAME TO down"],
        ])  # fmt: skip

    def meaning(self) -> list[str]:
        """What functions and operators give, without a row being changed."""
        return self.chance.choice([
            ["CREATE OR REPLACE FUNCTION w.steady(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 2'"],
            ["CREATE OR REPLACE FUNCTION w.steady(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1'"],
            ["ALTER TEXT SEARCH CONFIGURATION w.words ALTER MAPPING FOR asciiword, word WITH simple"],
            ["ALTER TEXT SEARCH CONFIGURATION w.words ALTER MAPPING FOR asciiword, word WITH english_stem"],
            ["CREATE OR REPLACE FUNCTION w.citext_eq(w.citext, w.citext) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT false'"],
            *([f"ALTER DATABASE {self.runner.database.name} SET {setting}"] for setting in (
                "TimeZone = 'Asia/Tokyo'", "TimeZone = 'UTC'", "DateStyle = 'German'", "DateStyle = 'ISO'",
                "extra_float_digits = -10",
                "quote_all_identifiers = on", "lc_time = 'C'")),
        ])  # fmt: skip

    def rights(self) -> list[str]:
        table = self.chance.choice(["w.a", "w.b", "w.other", "w.up"])
        return self.chance.choice([
            [f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"], [f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"],
            [f"DROP POLICY IF EXISTS few ON {table}", f"CREATE POLICY few ON {table} USING (g < {self.chance.randint(1, 4)})"],
            [f"REVOKE SELECT ON {table} FROM {self.owner}"], [f"GRANT SELECT ON {table} TO {self.owner}"],
        ])  # fmt: skip

    def there_and_back(self) -> None:
        """Something is changed, the views are refreshed, and it is changed back: what was seen in between must not count."""
        table, column = self.chance.choice(["w.a", "w.b", "w.other", "w.up"]), f"c{self.chance.randint(1, 10**6)}"
        there, back = self.chance.choice([
            ([f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"], f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
            ([f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", f"CREATE POLICY some ON {table} USING (g < 3)"],
             f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
            ([f"ALTER TABLE {table} ADD {column} int"], f"ALTER TABLE {table} DROP COLUMN {column}"),
            ([f"ALTER TABLE {table} ADD {column} int", f"UPDATE {table} SET {column} = id"],
             f"ALTER TABLE {table} DROP {column}"),
            (["ALTER TABLE w.a ADD extra w.citext DEFAULT 'x'", "UPDATE w.a SET extra = id"], "ALTER TABLE w.a DROP extra"),
            ([f"ALTER DATABASE {self.runner.database.name} SET TimeZone = 'Asia/Tokyo'"],
             f"ALTER DATABASE {self.runner.database.name} SET TimeZone = 'UTC'"),
        ])  # fmt: skip
        self.do(*there)
        self.step()
        self.do(back)

    def uncounted(self) -> None:
        """Change data while counting is off, for one role or for all, perhaps with a run in between."""
        off, on = self.chance.choice([
            (f"ALTER ROLE {self.writer} SET track_counts = off", f"ALTER ROLE {self.writer} RESET track_counts"),
            (f"ALTER DATABASE {self.runner.database.name} SET track_counts = off",
             f"ALTER DATABASE {self.runner.database.name} RESET track_counts"),
            ("ALTER SYSTEM SET track_counts = off; SELECT pg_reload_conf()",
             "ALTER SYSTEM RESET track_counts; SELECT pg_reload_conf()"),
        ])  # fmt: skip
        self.do(*off.split("; "))
        if "SYSTEM" in off:
            until(lambda: self.runner.sql("SHOW track_counts") == [("off",)])
        if self.chance.random() < 0.5:
            self.step()
        with contextlib.closing(self.runner.database.connect(self.writer)) as connection, connection.cursor() as cursor:
            statement = self.change()
            self.log.append(f"uncounted: {statement}")
            with contextlib.suppress(psycopg2.Error):
                cursor.execute(statement)
            pid = connection.info.backend_pid
        self.runner.wait_until_gone(pid)
        self.do(*on.split("; "))
        if "SYSTEM" in on:
            until(lambda: self.runner.sql("SHOW track_counts") == [("on",)])

    def reset(self) -> None:
        """Counters that begin anew and come to the same numbers."""
        self.do(
            "DELETE FROM w.other",
            "SELECT pg_stat_reset_single_table_counters('w.other'::regclass)",
            "INSERT INTO w.other VALUES (1, 1)",
        )
        self.step()
        self.do("SELECT pg_stat_reset_single_table_counters('w.other'::regclass)", "INSERT INTO w.other VALUES (2, 6)")

    def old_snapshot(self) -> None:
        """Somebody refreshes a view with a snapshot from before a change and commits after our refresh."""
        view = self.chance.choice(self.runner.options["views"])
        self.log.append(f"refresh of {view} from an old snapshot")
        with contextlib.closing(self.runner.database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT")
            self.do(self.change())
            self.runner.seconds_left = 0.5
            self.step()
            with contextlib.suppress(psycopg2.Error):
                cursor.execute(f"REFRESH MATERIALIZED VIEW {view}")
            cursor.execute("COMMIT")
            pid = connection.info.backend_pid
        self.runner.wait_until_gone(pid)
        self.runner.seconds_left = 600.0

    def prepared(self) -> None:
        name = f"p{self.chance.randrange(10**6)}"
        self.do(f"BEGIN; {self.change()}; PREPARE TRANSACTION '{name}'")
        self.step()
        self.do(
            self.chance.choice([f"COMMIT PREPARED '{name}'", f"ROLLBACK PREPARED '{name}'"]),
            f"ROLLBACK PREPARED '{name}'",
        )

    def raw(self) -> None:
        """A session that commits a change which is not counted yet, and then does what a driver may do while we look."""
        change, end = self.change(), self.chance.choice(["extended", "flush", "query", "pipeline", "error", "chain"])
        meanwhile = self.chance.choice(["sync", "sync", "parse", "query", "nothing"])
        self.log.append(f"raw session: {change}, {end}, then {meanwhile}")
        client = RawClient(self.runner.database.server, self.runner.database.name)
        try:
            client.query("SELECT 1")  # reports what connecting left, and nothing more within a second
            self.commit(client, change, end)

            def sleep(seconds: float) -> None:
                time.sleep(seconds / 2)
                if end not in ("flush", "error"):
                    {"sync": client.sync, "parse": lambda: client.parse("SELECT 1"), "query": lambda: client.query("SELECT 1"),
                     "nothing": lambda: None}[meanwhile]()  # fmt: skip
                time.sleep(seconds / 2)

            self.runner.seconds_left = 4.0  # of which the pauses do not take away
            self.step(sleep)
        except AssertionError as error:
            if "stale" in str(error):
                raise
        finally:
            client.close()
            self.runner.wait_until_gone(client.pid)
            self.runner.seconds_left = 600.0

    def commit(self, client: RawClient, change: str, end: str) -> None:
        if end == "extended":
            client.extended(change)
        elif end == "pipeline":
            client.extended("SELECT 1", change)
        elif end == "query":
            client.query(change)
        elif end == "chain":
            client.query(f"BEGIN; {change}; COMMIT AND CHAIN")
        else:
            client.query(f"BEGIN; {change}")
            client.extended("COMMIT", end=FLUSH)
            if end == "error":
                client.fail()

    def go(self) -> None:
        """Some random events, and a step after them."""
        for _event in range(self.chance.randint(1, 2)):
            self.events += 1
            self.happen()
        self.step()
        self.renew()

    def happen(self) -> None:
        kinds = {"data": 5, "rollback": 1, "structure": 5, "meaning": 4, "rights": 2, "back": 5, "uncounted": 3, "reset": 1,
                 "snapshot": 2, "prepared": 1, "raw": 2, "view": 3, "none": 1}  # fmt: skip
        [kind] = self.chance.choices(list(kinds), list(kinds.values()))
        if kind in ("structure", "meaning", "rights"):
            self.do(*{"structure": self.structure, "meaning": self.meaning, "rights": self.rights}[kind]())
        elif kind == "data":
            self.do(self.change())
        elif kind == "rollback":
            self.do(f"BEGIN; {self.change()}; ROLLBACK")
        elif kind == "snapshot":
            self.old_snapshot()
        elif kind == "view":
            self.renew()
        elif kind != "none":
            {
                "uncounted": self.uncounted,
                "reset": self.reset,
                "prepared": self.prepared,
                "raw": self.raw,
                "back": self.there_and_back,
            }[kind]()


@pytest.fixture
def walk(servers: Servers) -> Iterator[Walk]:
    """On a server of its own: it changes settings of all."""
    embedded = servers.embedded(
        "walk", Path(BINARIES) if BINARIES else None, max_prepared_transactions="10", lock_timeout="300ms"
    )
    embedded.start()
    private = PrivateServer(embedded)
    database = private.create_database()
    yield Walk(Runner(database), random.Random(SEED))  # noqa: S311 - the same walk each time
    embedded.remove()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_a_view_that_is_left_alone_is_never_stale(walk: Walk) -> None:
    walk.step()
    walk.step()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        walk.go()
    print(
        f"seed {SEED}: {walk.events} events, {walk.number} definitions, {walk.proved} left alone, {walk.refreshed} refreshed"
    )
    assert walk.proved > walk.events, f"seed {SEED}: a walk on which nothing is ever proved shows nothing"
