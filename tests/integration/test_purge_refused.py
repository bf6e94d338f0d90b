# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""purge of rows that cannot go: they stay, all others go, and the purge says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge import pages, refused, walks, work
from tests.runs import holding, only
from tests.servers import Database
from tests.trees import ids, purge

# A row says what its deletion ends with, NULL for nothing. Each try is counted, also where it is rolled back.
TABLE = "id int, at timestamptz, part int DEFAULT 0, bad text, filler char(900) DEFAULT ''"
REFUSES = """
CREATE SEQUENCE tries;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    PERFORM nextval('tries'); RAISE 'row % stays', OLD.id USING ERRCODE = OLD.bad;
END$$;
CREATE TRIGGER refuse {when} DELETE ON t {each} FOR EACH ROW WHEN (OLD.bad IS NOT NULL) EXECUTE FUNCTION refuse();
"""
BEFORE = REFUSES.format(when="BEFORE", each="")


def table(database: Database, expired: int, bad: dict[int, str], live: int = 3, tie: bool = False) -> None:
    """Rows 1 to ``expired`` have expired, the first the longest ago, or all at once; some of them say what they end with."""
    time = "'2020-01-01'" if tie else "now() - (1000000 - n) * interval '1 minute'"
    database.sql(f"CREATE TABLE t ({TABLE}, PRIMARY KEY (id)); CREATE INDEX ON t (at);")
    database.sql(
        f"INSERT INTO t (id, at) SELECT n, CASE WHEN n > {expired} THEN 'infinity' ELSE {time} END::timestamptz "
        f"FROM generate_series(1, {expired + live}) AS n"
    )
    for number, code in bad.items():
        database.sql("UPDATE t SET bad = %s WHERE id = %s", [code, number])


def tries(database: Database) -> int:
    return int(database.value("SELECT last_value FROM tries"))


def sizes(monkeypatch: pytest.MonkeyPatch, batch: int, pages_: int, singled: int) -> None:
    monkeypatch.setattr(walks, "FIRST_BATCH", batch)
    monkeypatch.setattr(walks, "CAREFUL_BATCH", batch)
    monkeypatch.setattr(pages, "FIRST_RANGE", pages_)
    for where in (walks, refused):
        monkeypatch.setattr(where, "SINGLED", singled)


# One row that cannot go


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("order", ["index", "heap"])
def test_all_others_go_and_the_next_run_does_the_same(database: Database, order: str, tie: bool) -> None:
    """Also where all have the same time, and whatever kind of error it is; and it is found in few tries."""
    bad = {1: "P0001", 2: "22012", 700: "23514", 1500: "U0001", 2999: "23503", 3000: "09000"}
    table(database, 3000, bad, tie=tie)
    database.sql(BEFORE)
    first = only(purge(database, order=order))
    assert (first["outcome"], first["rows"], first["numbers"]["refused"]) == ("failed", 2994, 6), first
    assert "6 rows cannot go: row " in first["reason"]
    assert ids(database) == [*bad, 3001, 3002, 3003]
    assert tries(database) < 6 * 40
    database.sql("UPDATE t SET at = '2020-01-01' WHERE id = 3002")
    before = tries(database)
    again = only(purge(database, order=order))
    assert (again["outcome"], again["rows"], again["numbers"]["refused"]) == ("failed", 1, 6), again
    assert tries(database) - before < 6 * 40
    assert ids(database) == [*bad, 3001, 3003]


def test_a_table_without_an_order(database: Database) -> None:
    """Each batch begins at the first row again, whatever it is."""
    table(database, 1500, {1: "P0001", 2: "P0001", 800: "P0001"})
    database.sql(BEFORE)
    database.sql("ALTER TABLE t ADD ttl int; UPDATE t SET ttl = 1")
    found = only(purge(database, order="index", ttl_column="ttl", require_index=False))
    assert (found["outcome"], found["rows"], found["numbers"]["refused"]) == ("failed", 1497, 3), found
    assert ids(database) == [1, 2, 800, 1501, 1502, 1503]


def test_max_rows_is_exact_beside_rows_that_cannot_go(database: Database) -> None:
    table(database, 1500, dict.fromkeys((1, 3, 5, 800), "P0001"))
    database.sql(BEFORE)
    for number in (2, 900):
        found = only(purge(database, max_rows=number))
        assert (found["outcome"], found["rows"]) == ("failed", number), found
        assert "stopped at max_rows" in found["reason"]
    assert ids(database)[:6] == [1, 3, 5, 800, 907, 908]


@pytest.mark.parametrize("order", ["index", "heap"])
def test_several_ways_to_expire(database: Database, order: str) -> None:
    """A row that could not go for one of its reasons is not tried for the other."""
    table(database, 60, {7: "P0001"})
    database.sql(BEFORE)
    database.sql("ALTER TABLE t ADD used timestamptz; UPDATE t SET used = at; CREATE INDEX ON t (used)")
    found = only(purge(database, order=order, column=None, conditions=[{"column": "at"}, {"column": "used"}]))
    assert (found["outcome"], found["rows"], found["numbers"]["refused"]) == ("failed", 59, 1), found
    assert ids(database) == [7, 61, 62, 63]


# What is refused at the end of a transaction, or elsewhere


@pytest.mark.parametrize("archive", ["", "table", "directory"])
@pytest.mark.parametrize("order", ["index", "heap"])
def test_what_is_refused_at_the_end_is_kept_nowhere_else(
    database: Database, tmp_path: Path, order: str, archive: str
) -> None:
    """A constraint that is checked when the transaction ends: nothing of it stays in the archive."""
    table(database, 1200, {1: "P0001", 600: "23514"})
    deferred = {"when": "AFTER", "each": "DEFERRABLE INITIALLY DEFERRED"}
    database.sql(REFUSES.format(**deferred).replace("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER"))
    database.sql("CREATE TABLE kept (LIKE t)")
    keep = {"table": "kept", "directory": str(tmp_path)}
    options: dict[str, Any] = {"archive": {archive: keep[archive]}} if archive else {}
    found = only(purge(database, order=order, **options))
    assert (found["outcome"], found["rows"], found["numbers"]["refused"]) == ("failed", 1198, 2), found
    assert ids(database) == [1, 600, 1201, 1202, 1203]
    went = [n for n in range(1, 1201) if n not in (1, 600)]
    assert ids(database, "kept") == (went if archive == "table" else [])
    if archive == "directory":
        assert archived(tmp_path) == 1198


def archived(directory: Path) -> int:
    """How many rows the files there have; none of them is half done."""
    assert not [path for path in directory.rglob("*") if path.name.endswith((".tmp", ".in-doubt"))]
    manifests = [json.loads(path.read_text()) for path in directory.rglob("manifest.json")]
    for manifest, path in zip(manifests, directory.rglob("manifest.json")):
        assert {file["name"] for file in manifest["files"]} == {one.name for one in path.parent.glob("*.copy.gz")}
    return sum(int(manifest["rows"]) for manifest in manifests)


def test_a_key_that_the_archive_has_already(database: Database) -> None:
    table(database, 1200, {})
    database.sql("CREATE TABLE kept (LIKE t INCLUDING ALL); INSERT INTO kept (id) VALUES (300)")
    found = only(purge(database, archive={"table": "kept"}))
    assert (found["outcome"], found["rows"], found["numbers"]["refused"]) == ("failed", 1199, 1), found
    assert "duplicate key" in found["reason"]
    assert ids(database) == [300, 1201, 1202, 1203]
    assert ids(database, "kept") == list(range(1, 1201))


@pytest.mark.parametrize("order", ["index", "heap"])
def test_a_child_that_cannot_go_keeps_its_parent_alone(database: Database, order: str, tmp_path: Path) -> None:
    table(database, 40, {})
    database.sql("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t, bad text); INSERT INTO c SELECT id, id FROM t;"
                 "UPDATE c SET bad = 'P0001' WHERE id IN (7, 8)")  # fmt: skip
    database.sql(BEFORE.replace("ON t", "ON c"))
    archive = {"directory": str(tmp_path)}
    found = only(purge(database, order=order, children=["c"], archive=archive))
    assert (found["outcome"], found["rows"], found["numbers"]["refused"]) == ("failed", 38, 2), found
    assert ids(database) == ids(database, "c") == [7, 8, 41, 42, 43]
    assert archived(tmp_path) == 2 * 38


# Rows to which others refer


@pytest.mark.parametrize("order", ["index", "heap"])
@pytest.mark.parametrize(
    ("action", "seen"),
    [
        ("RESTRICT", True),
        ("NO ACTION DEFERRABLE INITIALLY DEFERRED", True),
        ("NO ACTION DEFERRABLE INITIALLY DEFERRED", False),
    ],
)
def test_thousands_of_rows_to_which_others_refer(database: Database, action: str, order: str, seen: bool) -> None:
    """Where the role sees who refers they are not tried one by one. Check mode knows them before."""
    table(database, 2500, {})
    role = database.role("purger")
    database.sql(
        f"CREATE TABLE c (t int REFERENCES t ON DELETE {action}); CREATE INDEX ON c (t); GRANT ALL ON t TO {role};"
        f"INSERT INTO c SELECT id FROM t WHERE id <= {500 if seen else 12} OR id = 2000 OR id > 2500"
    )
    if seen:
        database.sql(f"GRANT SELECT ON c TO {role}")
    stays = 501 if seen else 13
    plan = purge(database, True, role, order=order)
    planned = only(plan)
    assert planned["outcome"] == "planned"
    told = [(one["level"], one["value"]) for one in plan["findings"] if one["check"] == "purge-referenced"]
    assert told == ([("warning", 501)] if seen else [])
    assert (planned["rows"], planned["numbers"].get("kept")) == ((1999, 501) if seen else (2500, None))
    assert ("501 rows stay, to which others refer: set keep_referenced" in planned["reason"]) == seen
    for went in (2500 - stays, 0):
        found = only(purge(database, user=role, order=order))
        assert (found["outcome"], found["rows"]) == ("failed", went), found
        assert found["numbers"]["kept" if seen else "refused"] == stays
        assert 'table "c"; set keep_referenced: true, name the table in with' in found["reason"]
        assert len(ids(database)) == stays + 3
    if seen:
        planned = only(purge(database, True, role, order=order))
        assert (planned["outcome"], planned["numbers"]["kept"]) == ("failed", 501)
        assert "no row can go; 501 rows stay" in planned["reason"]


def test_a_trigger_refuses_where_others_refer_as_well(database: Database) -> None:
    table(database, 1500, {1: "P0001", 1400: "23503"})
    database.sql(BEFORE)
    database.sql("CREATE TABLE c (t int REFERENCES t); INSERT INTO c VALUES (2), (700)")
    for keep in (False, True):
        found = only(purge(database, keep_referenced=keep))
        assert (found["outcome"], found["numbers"]["kept"], found["numbers"]["refused"]) == ("failed", 2, 2), found
        assert "2 rows stay, to which others refer" in found["reason"]
        assert "2 rows cannot go: " in found["reason"]
        assert ids(database) == [1, 2, 700, 1400, 1501, 1502, 1503]


# When it is not about single rows


@pytest.mark.parametrize("order", ["index", "heap"])
def test_a_trigger_that_refuses_everything_costs_little(database: Database, order: str) -> None:
    """It stops after a hundred rows, and the next run of the order of pages begins behind them."""
    table(database, 5000, {})
    database.sql(BEFORE + "UPDATE t SET bad = 'P0001' WHERE id <= 5000")
    found = only(purge(database, order=order))
    assert (found["outcome"], found["rows"], found["numbers"]["refused"]) == ("failed", 0, 100), found
    assert "stopped after 0 rows: 100 rows one after the other cannot go: row 1 stays" in found["reason"]
    assert tries(database) < 160
    assert len(ids(database)) == 5003


def test_too_many_rows_that_cannot_go(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.vtchat.maintenance.plugins.module_utils._operations.purge.work.MOST_REFUSED", 20
    )
    table(database, 900, {})
    database.sql(BEFORE + "UPDATE t SET bad = 'P0001' WHERE id % 3 = 0")
    found = only(purge(database))
    assert (found["outcome"], found["numbers"]["refused"]) == ("failed", 20), found
    assert "20 rows cannot go: row 3 stays" in found["reason"]
    assert 0 < found["rows"] < 600


def test_errors_about_everything_stop_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "CAREFUL_BATCH", 1000)
    table(database, 1500, {1200: "P0001"})
    database.sql(BEFORE)
    for number, code in enumerate(
        ["42501", "42703", "53100", "55000", "57014", "58030", "0A000", "XX000", "25006", "3F000", "08006"], 1
    ):
        database.sql("UPDATE t SET bad = %s WHERE id = 1200", [code])
        found = only(purge(database, order="index"))
        assert (found["outcome"], "refused" in found["numbers"]) == ("failed", False), found
        assert "row 1200 stays" in found["reason"]
        assert tries(database) == number
        assert ids(database)[0] == 1001


@pytest.mark.parametrize("order", ["index", "heap"])
def test_a_trigger_that_refuses_even_nothing(database: Database, order: str) -> None:
    table(database, 20, {})
    database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'never'; END$$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON t EXECUTE FUNCTION refuse()"
    )
    found = only(purge(database, order=order))
    assert (found["outcome"], found["rows"]) == ("failed", 0), found
    assert "never" in found["reason"]
    assert len(ids(database)) == 23


# Any table

PARTS = {
    "plain": f"CREATE TABLE t ({TABLE});",
    "list": f"CREATE TABLE t ({TABLE}) PARTITION BY LIST (part);"
    + "".join(f"CREATE TABLE p{n} PARTITION OF t FOR VALUES IN ({n});" for n in range(3)),
    "inherited": f"CREATE TABLE t ({TABLE}); CREATE TABLE p1 () INHERITS (t); CREATE TABLE p2 () INHERITS (p1);",
}
AGES = ["'2020-01-01'", "'2020-01-01'", "'2021-01-01'", "now() - interval '1 second'", "now() + interval '1 hour'",
        "'infinity'", "NULL"]  # fmt: skip
ROW = st.tuples(
    st.sampled_from(AGES), st.integers(0, 2), st.sampled_from(["", "", "", "P0001", "22012", "U0001", "23503", "held"])
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    rows=st.lists(ROW, max_size=60),
    kind=st.sampled_from(sorted(PARTS)),
    way=st.tuples(st.sampled_from(["index", "heap"]), st.sampled_from(["", "table", "directory"]), st.booleans()),
    limits=st.tuples(st.sampled_from([1, 7, 1000]), st.sampled_from([1, 3, 1000]), st.sampled_from([1, 5, 256])),
)
def test_any_table_is_as_a_model_says(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, str]],
    kind: str,
    way: tuple[str, str, bool],
    limits: tuple[int, int, int],
) -> None:
    """All that has expired goes but what cannot; nothing else goes; and the archive has just what has gone."""
    order, archive, seen = way
    directory = tmp_path_factory.mktemp("archive")
    role = database.role("purger")
    fill(database, rows, kind, role, seen)
    stays = [n for n, (age, part, bad) in enumerate(rows) if AGES.index(age) > 3 or cannot(kind, part, bad)]
    options: dict[str, Any] = (
        {"archive": {archive: {"table": "kept", "directory": str(directory)}[archive]}} if archive else {}
    )
    with pytest.MonkeyPatch.context() as patch:
        sizes(patch, *limits)
        found = only(purge(database, user=role, order=order, **options))
    assert ids(database) == stays, found
    assert (found["rows"] or 0) == len(rows) - len(stays)
    bad = [bad for n, (age, part, bad) in enumerate(rows) if AGES.index(age) <= 3 and cannot(kind, part, bad)]
    assert (found["outcome"] == "failed") == bool(bad), found
    assert found["numbers"].get("kept", 0) + found["numbers"].get("refused", 0) == len(bad), found
    assert found["numbers"].get("left", 0) == 0
    went = [n for n in range(len(rows)) if n not in stays]
    assert ids(database, "kept") == (went if archive == "table" else [])
    assert archived(directory) == (len(went) if archive == "directory" else 0)


def cannot(kind: str, part: int, bad: str) -> bool:
    """Whether a row cannot go. Triggers and foreign keys of a table are not about those that inherit from it."""
    return bool(bad) and not (kind == "inherited" and part)


def fill(database: Database, rows: list[tuple[str, int, str]], kind: str, role: str, seen: bool) -> None:
    """The rows, each with what it ends with; to those that are held a child refers that the role may see or not."""
    database.sql("DROP TABLE IF EXISTS t, p0, p1, p2, kept, c CASCADE; DROP SEQUENCE IF EXISTS tries; "
                 "DROP FUNCTION IF EXISTS refuse")  # fmt: skip
    key = "PRIMARY KEY (id, part)"
    database.sql(f"{PARTS[kind]} ALTER TABLE t ADD {key}; CREATE INDEX ON t (at); CREATE TABLE kept ({TABLE});")
    database.sql(f"{BEFORE} CREATE TABLE c (id int, part int, FOREIGN KEY (id, part) REFERENCES t)")
    for number, (age, part, bad) in enumerate(rows):
        into = f"p{part}" if kind == "inherited" and part else "t"
        code = bad if bad not in ("", "held") else None
        database.sql(f"INSERT INTO {into} (id, at, part, bad) VALUES (%s, {age}, %s, %s)", [number, part, code])
        if bad == "held" and into == "t":
            database.sql("INSERT INTO c VALUES (%s, %s)", [number, part])
    database.sql(f"GRANT ALL ON t, kept TO {role}; GRANT ALL ON SEQUENCE tries TO {role}; GRANT ALL ON SCHEMA public TO {role};"
                 + (f"GRANT SELECT ON c TO {role}" if seen else ""))  # fmt: skip


# Rows with the same time as one that stays for other reasons


@pytest.mark.parametrize("ordered", [True, False])
def test_rows_that_a_trigger_keeps_do_not_hide_others_of_the_same_time(database: Database, ordered: bool) -> None:
    """More of them than a batch has."""
    table(database, 4000, {}, tie=True)
    database.sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER keep BEFORE DELETE "
        "ON t FOR EACH ROW WHEN (OLD.id <= 1500) EXECUTE FUNCTION keep(); ALTER TABLE t ADD ttl int DEFAULT 1"
    )
    options: dict[str, Any] = {} if ordered else {"ttl_column": "ttl", "require_index": False}
    found = only(purge(database, order="index", **options))
    assert (found["outcome"], found["rows"], found["numbers"]["left"]) == ("done", 2500, 1001), found


@pytest.mark.parametrize("ordered", [True, False])
def test_a_row_whose_child_is_locked_does_not_hide_others_of_the_same_time(
    database: Database, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    for where in (walks, work):
        monkeypatch.setattr(where, "ROW", 0.02)
    table(database, 40, {}, tie=True)
    database.sql("CREATE TABLE c (t int REFERENCES t ON DELETE CASCADE); INSERT INTO c SELECT id FROM t;"
                 "ALTER TABLE t ADD ttl int DEFAULT 1")  # fmt: skip
    options: dict[str, Any] = {} if ordered else {"ttl_column": "ttl", "require_index": False}
    with holding(database, "SELECT FROM c WHERE t IN (7, 30) FOR UPDATE"):
        found = only(purge(database, order="index", **options))
    assert (found["outcome"], found["rows"], found["numbers"]["left"]) == ("done", 38, 2), found
    assert ids(database) == [7, 30, 41, 42, 43]


# More rows that cannot go than one run tries


@pytest.mark.parametrize("tie", [False, True])
def test_many_of_the_oldest_that_cannot_go_do_not_stop_every_run(
    database: Database, monkeypatch: pytest.MonkeyPatch, tie: bool
) -> None:
    """Each run gets further, then begins behind them, and looks at the first of them again at its end."""
    monkeypatch.setattr(work, "MOST_IN_LINE", 10)
    table(database, 300, {}, tie=tie)
    database.sql(
        BEFORE
        + "UPDATE t SET bad = 'P0001' WHERE id <= 25; ALTER TABLE t ADD used timestamptz; CREATE INDEX ON t (used)"
    )
    if tie:  # so that there is something behind them
        database.sql("UPDATE t SET at = at + interval '1 day' WHERE id > 200 AND id <= 300")
    database.sql("UPDATE t SET used = '2020-01-01' WHERE id = 301; CLUSTER t USING t_pkey")
    ways = [{"column": "at"}, {"column": "used"}]

    def run() -> dict[str, Any]:
        return only(purge(database, order="index", column=None, conditions=ways, history=True))

    outcomes = [run() for _again in range(4)]
    assert all(one["outcome"] == "failed" and one["numbers"]["refused"] >= 10 for one in outcomes), outcomes
    assert [n for n in ids(database) if n > 25] == [302, 303], outcomes
    database.sql("UPDATE t SET at = '2020-06-01' WHERE id = 303")
    assert run()["rows"] == 1
    database.sql("UPDATE t SET bad = NULL")
    assert (run()["outcome"], ids(database)) == ("done", [302])
    assert database.value("SELECT value FROM maintenance.state WHERE operation = 'purge'") == {"page": 0}


OF = '"at"::pg_catalog.timestamptz'


@pytest.mark.parametrize(
    "state",
    [
        {"value": 7},
        {"value": "x"},
        {"term": 3, "of": "", "value": "1"},
        {"term": 0, "of": '"at"', "value": "nonsense"},
        {"term": 0, "of": OF, "value": "2010-01-01", "stay": 7},
        {
            "term": 0,
            "of": OF,
            "value": "2010-01-01",
            "stay": [7, [1], ["1", "(0,1)"], [1, "(0,x)"], [1, "(0,1)) OR true"]],
        },
        {"term": 0, "of": OF, "value": "2010-01-01", "stay": [[1, "(0,21)"], [1, "(4294967295,1)"]]},
    ],
)
def test_what_is_remembered_wrongly_does_no_harm(database: Database, state: dict[str, Any]) -> None:
    table(database, 20, {})
    database.sql("UPDATE t SET at = now() WHERE id = 20")
    assert only(purge(database, order="index", history=True))["rows"] == 20
    database.sql("UPDATE maintenance.state SET value = %s::jsonb WHERE operation = 'purge'", [json.dumps(state)])
    database.sql("UPDATE t SET at = '2020-01-01' WHERE id > 21")
    assert only(purge(database, order="index", history=True))["rows"] == 2
