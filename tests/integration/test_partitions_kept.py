# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps an expired partition: rows that refer to it, objects that need it, DEFAULT, rights. And what goes with it."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.partitions import obstacles
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres import policy
from tests.partitions import exists, month, monthly, named, outcomes, partition, parts, purge, told
from tests.runs import holding
from tests.servers import Database

pytestmark = pytest.mark.usefixtures("unhurried")
OLD, OLDER = f"public.{named(-3)}", f"public.{named(-4)}"


def reason(result: dict[str, Any], target: str) -> str:
    return str(told(result, target)["reason"])


def test_rows_that_refer_to_it(database: Database) -> None:
    """Such a partition stays, with the name of the key; another goes, and so does this one when nothing refers to it."""
    monthly(database, columns=", PRIMARY KEY (at, id)")
    database.sql("CREATE TABLE child (at timestamptz, id int, FOREIGN KEY (at, id) REFERENCES t ON DELETE CASCADE)")
    database.sql("INSERT INTO child SELECT at, id FROM t WHERE id = -4")
    result = purge(database, partitions="drop", premake=1)
    assert outcomes(result) == {f"public.{named(1)}": "done", OLDER: "failed", OLD: "done"}, result["msg"]
    assert "public.child refer to it (child_at_id_fkey)" in reason(result, OLDER)
    assert "purge those first" in reason(result, OLDER)
    database.sql("DELETE FROM child")
    assert outcomes(purge(database, partitions="drop")) == {OLDER: "done"}
    assert (
        database.value(
            "SELECT count(*) FROM pg_constraint WHERE conrelid = 'child'::regclass AND conparentid = 0 AND contype = 'f'"
        )
        == 1
    )


def test_rows_that_refer_to_it_alone(database: Database) -> None:
    """A foreign key to the partition itself: it is not dropped, but detached where no row refers to it."""
    monthly(database)
    database.sql(f"ALTER TABLE {named(-4)} ADD PRIMARY KEY (id)")
    database.sql(f"CREATE TABLE child (id int REFERENCES {named(-4)})")
    result = purge(database, True, partitions="drop")
    assert outcomes(result) == {OLDER: "failed", OLD: "planned"}
    assert "constraint child_id_fkey on table" in reason(result, OLDER)
    assert outcomes(purge(database, True, partitions="detach")) == {OLDER: "planned", OLD: "planned"}


def test_rows_of_its_own_that_refer_to_each_other(database: Database) -> None:
    """The server refuses those as well: they are told before it does."""
    monthly(
        database, columns=", before timestamptz, of int, PRIMARY KEY (at, id), FOREIGN KEY (before, of) REFERENCES t"
    )
    database.sql("UPDATE t SET before = at, of = id WHERE id = -4")
    assert outcomes(purge(database, partitions="drop")) == {OLDER: "failed", OLD: "done"}
    assert named(-4) in parts(database)


REFERRING = ", before timestamptz, of int, PRIMARY KEY (at, id), CONSTRAINT key FOREIGN KEY (before, of) REFERENCES t"


def refer(database: Database, *pairs: tuple[int, int]) -> None:
    """Rows of the first month of each pair refer to those of the second."""
    for one, other in pairs:
        database.sql(
            "INSERT INTO t SELECT o.at + interval '2 h', o.id * 1000 + p.id, p.at, p.id FROM t AS o, t AS p "
            "WHERE (o.id, p.id) = (%s, %s)",
            [one, other],
        )


def test_expired_partitions_that_refer_to_each_other(database: Database) -> None:
    """They go in one run, each after those whose rows refer to it; where that is impossible, it is said why."""
    monthly(database, -6, columns=REFERRING)
    refer(database, (-3, -6), (-4, -3), (-4, -5))
    planned = purge(database, True, partitions="drop")
    expected = [f"public.{named(number)}" for number in (-4, -5, -3, -6)]
    assert list(outcomes(planned)) == expected
    assert outcomes(purge(database, partitions="drop")) == dict.fromkeys(expected, "done")
    assert len(parts(database)) == 3


def test_expired_partitions_of_which_none_can_go_first(database: Database) -> None:
    """A circle, and one to which a partition refers that stays: both say so, and the others go."""
    monthly(database, -7, columns=REFERRING)
    refer(database, (-7, -6), (-6, -7), (-5, -4), (0, -5))
    result = purge(database, partitions="drop")
    seven, six, five, four, three = (f"public.{named(number)}" for number in (-7, -6, -5, -4, -3))
    assert outcomes(result) == {seven: "failed", six: "failed", five: "failed", four: "failed", three: "done"}
    said = "rows of public.t refer to it (key): purge those first, or drop the constraint"
    assert reason(result, seven) == f"{said}; they are in {six}, which would have to go before it and stays"
    assert reason(result, five) == said
    assert f"they are in {five}" in reason(result, four)
    kept = purge(database, partitions="detach")
    assert set(outcomes(kept).values()) == {"failed"}, "a table of its own would refer to it for ever"


def test_a_key_between_two_partitions(database: Database) -> None:
    """It is no part of the table's own: it goes with the one that has it."""
    monthly(database, -5)
    database.sql(f"ALTER TABLE {named(-5)} ADD PRIMARY KEY (id)")
    database.sql(f"ALTER TABLE {named(-4)} ADD CONSTRAINT key FOREIGN KEY (id) REFERENCES {named(-5)} NOT VALID")
    result = purge(database, partitions="drop")
    assert list(outcomes(result).items()) == [(OLDER, "done"), (f"public.{named(-5)}", "done"), (OLD, "done")]


def test_what_was_to_go_first_is_still_there(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody works with the one whose rows refer: the other waits as well, and both go in the next run."""
    monthly(database, columns=REFERRING)
    refer(database, (-3, -4))
    with holding(database, f"SELECT * FROM {named(-3)}"), monkeypatch.context() as patch:
        patch.setattr(policy, "BLOCKING_PAUSES", ())
        result = purge(database, partitions="drop", concurrently="never")
    assert outcomes(result) == {OLD: "contended", OLDER: "contended"}
    assert reason(result, OLDER) == f"rows of {OLD} refer to it, and that has not gone before it"
    assert outcomes(purge(database, partitions="drop")) == {OLD: "done", OLDER: "done"}


def test_what_an_event_trigger_sets_is_set_back(database: Database) -> None:
    """It runs with DETACH CONCURRENTLY, which no setting can go ahead of in the same message."""
    monthly(database)
    database.sql(
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM set_config('default_transaction_read_only', 'on', false), set_config('DateStyle', 'German', false); END $$; "
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()"
    )
    result = outcomes(purge(database, partitions="drop", premake=1))
    database.sql("DROP EVENT TRIGGER e")
    assert result == {f"public.{named(1)}": "done", OLDER: "done", OLD: "done"}


def test_what_it_refers_to_stays(database: Database) -> None:
    database.sql("CREATE TABLE owner (id int PRIMARY KEY); INSERT INTO owner SELECT generate_series(-9, 9)")
    monthly(database, columns=" REFERENCES owner")
    assert outcomes(purge(database, partitions="drop")) == {OLDER: "done", OLD: "done"}
    assert database.value("SELECT count(*) FROM owner") == 19


NEEDED = (
    ("CREATE VIEW needs AS SELECT id FROM {part}", "view public.needs"),
    ("CREATE MATERIALIZED VIEW needs AS SELECT id FROM {part}", "materialized view public.needs"),
    ("CREATE TABLE needs (one {part})", "column one of table public.needs"),
    ("CREATE FUNCTION needs() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM {part}; END", "function"),
    ("CREATE TABLE needs (id bigint DEFAULT nextval('{part}_number_seq'))", "public.needs"),
)


def test_objects_that_need_it(database: Database) -> None:
    """Nothing is ever dropped with CASCADE: they are named, and creating goes on."""
    for number, (statement, words) in enumerate(NEEDED):
        table = f"t{number}"
        monthly(database, table=table)
        database.sql(f"ALTER TABLE {named(-4, table)} ADD CONSTRAINT positive CHECK (id < 100)")
        database.sql(f"CREATE SEQUENCE {named(-4, table)}_number_seq OWNED BY {named(-4, table)}.id")
        database.sql(statement.format(part=named(-4, table)).replace("needs", f"needs{number}"))
        result = purge(database, partitions="drop", premake=1, table=table)
        target = f"public.{named(-4, table)}"
        assert told(result, target)["outcome"] == "failed", result
        assert words.replace("needs", f"needs{number}") in reason(result, target)
        assert told(result, f"public.{named(-3, table)}")["outcome"] == "done"
        assert named(1, table) in parts(database, table)
        assert outcomes(purge(database, partitions="detach", table=table), f"public.{table}") == {target: "done"}


def test_foreign_tables(database: Database) -> None:
    """Nothing of a foreign table is dropped, be it the partition itself or one below it."""
    monthly(database, -2, 0)
    database.sql("CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER s FOREIGN DATA WRAPPER nothing")
    partition(database, named(-3), month(-3), month(-2), more="PARTITION BY LIST (id)")
    bounds = f"FOR VALUES FROM ('{month(-4)}') TO ('{month(-3)}')"
    database.sql(f"CREATE FOREIGN TABLE below PARTITION OF {named(-3)} DEFAULT SERVER s")
    database.sql(f"CREATE FOREIGN TABLE {named(-4)} PARTITION OF t {bounds} SERVER s")
    result = purge(database, partitions="drop")
    assert outcomes(result) == {OLDER: "failed", OLD: "failed"}
    assert "there is a foreign table in it: set partitions: detach" in reason(result, OLD)
    assert outcomes(purge(database, partitions="detach")) == {OLDER: "done", OLD: "done"}


@pytest.mark.parametrize("wide", [0, None])
def test_numbers_without_a_time(database: Database, monkeypatch: pytest.MonkeyPatch, wide: int | None) -> None:
    """Numbers before 1971 never expire row by row: a partition that has some stays, and plain numbers are no clock at all."""
    year = 31_536_000
    database.sql("CREATE TABLE t (at bigint, id int) PARTITION BY RANGE (at)")
    partition(database, "t_0", wide, 1_100_000_000)
    partition(database, "t_1", 1_100_000_000, 1_200_000_000)
    partition(database, "t_2", 1_200_000_000, 4_000_000_000)
    options: dict[str, Any] = {"partitions": "drop", "epoch": "s"}
    for number in (year - 1, 0, *([-5] if wide is None else [])):
        database.sql("TRUNCATE t; INSERT INTO t VALUES (%s), (1150000000)", [number])
        result = purge(database, True, **options)
        assert outcomes(result) == {"public.t_0": "failed", "public.t_1": "planned"}
        assert "at is before 1971, and never expires: delete them first" in reason(result, "public.t_0")
    monkeypatch.setattr(obstacles, "BLOCKING", 0.001)
    database.sql("TRUNCATE t; INSERT INTO t SELECT 40000000, n FROM generate_series(1, 200000) AS n")
    result = purge(database, True, **options)
    assert outcomes(result)["public.t_0"] == "failed"
    assert reason(result, "public.t_0").endswith("CREATE INDEX CONCURRENTLY ON public.t_0 (at)")
    monkeypatch.undo()
    database.sql("TRUNCATE t; INSERT INTO t VALUES (%s)", [year])
    assert outcomes(purge(database, **options)) == {"public.t_0": "done", "public.t_1": "done"}
    database.sql("CREATE TABLE ids (at bigint) PARTITION BY RANGE (at)")
    for number in range(3):
        partition(database, f"ids_{number}", number * 100_000_000, (number + 1) * 100_000_000, "ids")
    result = purge(database, table="ids", premake=1, **options)
    assert outcomes(result, "public.ids") == {}
    assert "all bounds would be before 2001-09-09: epoch: s cannot be right" in reason(result, "public.ids")


def test_ids_without_a_time(database: Database) -> None:
    """Ids of another kind never expire: their partition stays, whatever its bounds would mean."""
    database.sql("CREATE TABLE t (at uuid) PARTITION BY RANGE (at)")
    edges = ["00000000", "01000000", "018c0000", "02000000"]
    for number, (lower, upper) in enumerate(zip(edges, edges[1:])):
        partition(
            database,
            f"t_{number}",
            f"{lower}-0000-0000-0000-000000000000",
            f"{upper}-0000-0000-0000-000000000000",
        )
    database.sql(
        "INSERT INTO t VALUES ('00c30a3c-2b5e-4c7e-9d0a-000000000001'), ('013f30a3-2b5e-7c7e-9d0a-000000000001')"
    )
    result = purge(database, partitions="drop", format="uuidv7")
    assert outcomes(result) == {"public.t_0": "failed", "public.t_1": "done"}
    assert "at is no UUID of version 7, and never expires" in reason(result, "public.t_0")


def test_default_partition(database: Database) -> None:
    """It forbids CONCURRENTLY: said plainly, with the way out."""
    monthly(database)
    database.sql("CREATE TABLE rest PARTITION OF t DEFAULT")
    result = purge(database, True, partitions="drop", concurrently="require")
    assert outcomes(result) == {OLDER: "failed", OLD: "failed"}
    assert "DEFAULT partition public.rest forbids" in reason(result, OLD)
    assert "ALTER TABLE public.t DETACH PARTITION public.rest" in reason(result, OLD)
    result = purge(database, partitions="drop")
    assert outcomes(result) == {OLDER: "done", OLD: "done"}
    assert "not CONCURRENTLY, which the DEFAULT partition public.rest forbids" in reason(result, OLD)
    assert told(result, OLD)["numbers"]["method"] == "plain"
    assert not exists(database, named(-3))


def test_expired_rows_in_the_default_partition(database: Database) -> None:
    """They go row by row where partitions are dropped, and stay where these are kept."""
    monthly(database)
    database.sql('CREATE TABLE "the rest" PARTITION OF t DEFAULT; CREATE INDEX ON "the rest" (at)')
    database.sql("INSERT INTO t SELECT %s - n * interval '1 day', n FROM generate_series(1, 70) AS n", [month(-4)])
    database.sql("INSERT INTO t VALUES (NULL, 1), ('infinity', 2), (%s, 3)", [month(7)])
    assert set(outcomes(purge(database, partitions="detach"))) == {OLDER, OLD}
    planned = purge(database, True, partitions="drop", premake=1, timezone="UTC")
    assert outcomes(planned) == {f"public.{named(1)}": "planned", 'public."the rest"': "planned"}
    result = purge(database, partitions="drop", premake=1, timezone="UTC")
    assert told(result, 'public."the rest"')["rows"] == told(planned, 'public."the rest"')["rows"] == 70
    assert database.value('SELECT count(*) FROM "the rest"') == 3
    assert outcomes(purge(database, partitions="drop", premake=1)) == {}


def test_rows_that_refer_to_expired_ones_in_default(database: Database) -> None:
    """They go with them as the key says: it has the time in it, as every key to a partitioned table."""
    monthly(database, columns=", PRIMARY KEY (at, id)")
    database.sql(
        "CREATE TABLE rest PARTITION OF t DEFAULT; INSERT INTO t VALUES ('2000-01-01', 1), ('2000-01-01', 2);"
        "CREATE TABLE child (at timestamptz, id int, FOREIGN KEY (at, id) REFERENCES t ON DELETE CASCADE);"
        "INSERT INTO child VALUES ('2000-01-01', 1)"
    )
    result = purge(database, partitions="drop")
    assert outcomes(result) == {OLDER: "done", OLD: "done", "public.rest": "done"}, result
    assert database.value("SELECT count(*) FROM child") == 0


def test_not_concurrently(database: Database) -> None:
    monthly(database)
    result = purge(database, partitions="drop", concurrently="never")
    assert told(result, OLD)["statements"][0] == f"ALTER TABLE public.t DETACH PARTITION {OLD}"
    assert outcomes(result) == {OLDER: "done", OLD: "done"}


def test_all_below_it_goes_with_it(database: Database) -> None:
    """Partitions of a partition, triggers, statistics, publications, comments, odd names."""
    database.sql(
        'CREATE SCHEMA "Up"; CREATE TABLE "Up"."My;T" (at timestamptz, id int, word text) PARTITION BY RANGE (at)'
    )
    for number in range(-3, 1):
        name = f'Up.part "{number}"'
        partition(database, name, month(number), month(number + 1), "Up.My;T", "PARTITION BY HASH (id)")
        for rest in range(2):
            database.sql(
                SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES WITH (MODULUS 2, REMAINDER " + f"{rest})").format(
                    Identifier("Up", f"{name[3:]} {rest}"), Identifier("Up", name[3:])
                )
            )
    database.sql(
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; "
        'CREATE TRIGGER each AFTER INSERT ON "Up"."My;T" FOR EACH ROW EXECUTE FUNCTION nothing(); '
        'CREATE INDEX ON "Up"."My;T" (word); CREATE STATISTICS "Up".s ON id, word FROM "Up"."part ""-3"""; '
        'CREATE PUBLICATION p FOR TABLE "Up"."My;T", "Up"."part ""-3"""; COMMENT ON TABLE "Up"."part ""-3""" IS \'old\''
    )
    database.sql(
        'INSERT INTO "Up"."My;T" SELECT %s, n, n FROM generate_series(1, 100) AS n; ANALYZE "Up"."My;T"', [month(-3)]
    )
    result = purge(database, partitions="drop", table='Up."My;T"')
    target = '"Up"."part ""-3"""'
    assert outcomes(result, '"Up"."My;T"') == {target: "done"}
    assert told(result, target)["numbers"]["estimated_rows"] == 100
    assert told(result, target)["numbers"]["won_bytes"] > 32768
    assert database.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'part \"-3\"%%'") == 0


def test_rights(database: Database) -> None:
    """Only the owner: told before anything is touched, and a member of the owner's role can do it all."""
    monthly(database)
    role, owner = database.role("purger"), database.role("owner")
    database.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # as it is from 15 on
    database.sql(SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(Identifier(role)))
    result = purge(database, user=role, partitions="drop", premake=1)
    assert "only by its owner: GRANT postgres TO" in reason(result, "public.t")
    database.sql(
        SQL("ALTER TABLE t OWNER TO {0}; GRANT {0} TO {1}; GRANT USAGE, CREATE ON SCHEMA public TO {0}").format(
            Identifier(owner), Identifier(role)
        )
    )
    for number in (-4, -2, -1):
        database.sql(SQL("ALTER TABLE {} OWNER TO {}").format(Identifier(named(number)), Identifier(owner)))
    result = purge(database, user=role, partitions="drop", premake=1)
    assert outcomes(result) == {OLDER: "done", OLD: "failed"}
    assert "it can be detached and dropped only by its owner: GRANT postgres TO" in reason(result, OLD)
    assert "partitions like the newest one can be created only by its owner: GRANT postgres TO" in reason(
        result, "public.t"
    )
    for number in (-3, 0):
        database.sql(SQL("ALTER TABLE {} OWNER TO {}").format(Identifier(named(number)), Identifier(owner)))
    database.sql(SQL("REVOKE CREATE ON SCHEMA public FROM {}").format(Identifier(owner)))
    result = purge(database, user=role, partitions="drop", premake=1)
    assert outcomes(result) == {OLD: "done"}
    assert "GRANT CREATE ON SCHEMA public TO" in reason(result, "public.t")
    database.sql(SQL("GRANT CREATE ON SCHEMA public TO {}").format(Identifier(owner)))
    assert outcomes(purge(database, user=role, premake=1)) == {f"public.{named(1)}": "done"}
    assert database.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = %s", [named(1)]) == owner
    database.sql(
        SQL("CREATE TABLE u (at timestamptz) PARTITION BY RANGE (at); ALTER TABLE u OWNER TO {}").format(
            Identifier(owner)
        )
    )
    assert len(outcomes(purge(database, user=role, table="u", premake=1, interval="1 year"), "public.u")) == 2
    assert (
        database.value(
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'u\\_p%%' AND pg_get_userbyid(relowner) = %s", [owner]
        )
        == 2
    )
    database.sql(SQL("GRANT {} TO {} WITH SET FALSE").format(Identifier(owner), Identifier(role)))
    result = purge(database, user=role, partitions="drop", premake=2)
    assert "only by its owner: GRANT" in reason(result, "public.t")
    assert reason(result, "public.t").endswith(f"TO {role} WITH SET TRUE")
