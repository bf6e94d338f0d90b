# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""reindex against real servers: what is bloated is found by each method and rebuilt, what is not is left as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.sql import Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import Context
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import reindex as operation
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex import measure
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.options import SPEC, THRESHOLDS
from ansible_collections.vtchat.maintenance.plugins.module_utils._operations.reindex.queries import LEAVES
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.bloat import METHODS
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.connect import (
    ConnectionOptions,
    open_session,
)
from tests.runs import perform
from tests.servers import REPOSITORY, Database, Server

ROWS = 20_000
SMALL: dict[str, Any] = {"min_size": 64 << 10, "min_gain": 0}
# Indexes of each kind. Three rows of four go after it; what a rebuild of a B-tree wins then is about that much.
TABLE = f"""
CREATE TABLE item (id int PRIMARY KEY, grp int, label text, code uuid, tags int[], place point, spare text);
INSERT INTO item SELECT i, i % 10, 'Item ' || i * 7919 % 99991, md5(i::text)::uuid, ARRAY[i, i % 7], point(i, i % 100),
                        CASE WHEN i % 8 <> 0 THEN 'x' || i END FROM generate_series(1, {ROWS}) AS i;
CREATE INDEX by_code ON item (code);
CREATE INDEX by_code_70 ON item (code) WITH (fillfactor = 70);
CREATE INDEX by_both ON item (label, code);
CREATE INDEX by_grp ON item (grp);
CREATE INDEX by_spare ON item (spare);
CREATE INDEX by_lower ON item (lower(label));
CREATE INDEX by_part ON item (code) WHERE id % 2 = 0;
CREATE INDEX by_tags ON item USING gin (tags);
CREATE INDEX by_place ON item USING gist (place);
CREATE INDEX by_hash ON item USING hash (code);
CREATE INDEX by_range ON item USING brin (id);
"""
DELETE = ("DELETE FROM item WHERE id % 4 <> 0", "VACUUM ANALYZE item")
BTREES = ("by_code", "by_code_70", "by_both", "by_grp", "by_spare", "by_lower", "by_part")


@pytest.fixture(params=["server", "postgres15"])
def each(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A table with indexes of each kind, on the newest server and on an older one."""
    made = request.getfixturevalue(request.param).create_database()
    load(made)
    yield made
    made.close()


@pytest.fixture
def database(database: Database) -> Database:
    """The same on the newest server alone."""
    load(database)
    return database


def load(made: Database) -> None:
    made.sql(TABLE)
    analyze(made)


def counted(database: Database) -> None:
    """What has been counted so far is there for others, on a server that has it in shared memory."""
    if database.value("SELECT current_setting('server_version_num')::int") >= 150000:
        database.sql("SELECT pg_stat_force_next_flush()")
        database.sql("SELECT 1")


def analyze(database: Database, table: str = "item") -> None:
    """What has changed before counts as changed before, whenever the session reports it."""
    counted(database)
    database.sql(f"ANALYZE {table}")
    counted(database)


def delete(database: Database) -> None:
    for statement in DELETE:
        database.sql(statement)
        counted(database)


def reindex(database: Database, check: bool = False, user: str = "postgres", **options: Any) -> dict[str, Any]:
    if not {"include", "indexes", "tables"} & set(options):
        options["tables"] = ["item"]
    return perform("reindex", database.dsn_as(user), check=check, **{**SMALL, **options})


def told(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Outcome and reason by the name of the index without its schema."""
    return {one["target"].partition(".")[2]: (one["outcome"], one["reason"]) for one in result["actions"]}


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {name: outcome for name, (outcome, _reason) in told(result).items()}


def done(result: dict[str, Any]) -> set[str]:
    return {name for name, outcome in outcomes(result).items() if outcome in ("done", "planned")}


def sizes(database: Database) -> dict[str, int]:
    query = "SELECT c.relname, pg_relation_size(c.oid) FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid WHERE indisvalid"
    return dict(database.sql(f"{query} AND indrelid = 'item'::regclass"))


def test_what_is_bloated_is_rebuilt_once(each: Database) -> None:
    each.sql("CREATE EXTENSION pgstattuple")
    assert done(reindex(each)) == set(), "nothing is bloated yet"
    before = sizes(each)
    delete(each)
    planned = reindex(each, check=True)
    assert sizes(each) == before
    result = reindex(each)
    assert (result["status"], result["changed"]) == ("ok", True)
    assert done(result) == done(planned) == {*BTREES, "by_tags", "by_place", "by_hash"}
    assert [one["target"] for one in result["actions"]] == [one["target"] for one in planned["actions"]]
    after = sizes(each)
    for one in result["actions"]:
        name, numbers = one["target"].partition(".")[2], one["numbers"]
        if one["outcome"] == "done":
            assert numbers["method"] == ("exact" if name in BTREES else "baseline")
            assert numbers["bytes_after"] == after[name]
            assert numbers["won_bytes"] == before[name] - after[name] > 0
            if name in BTREES:
                assert abs(numbers["won_bytes"] - numbers["gain_bytes"]) <= 0.1 * before[name], "as predicted"
            assert one["statements"] == [f"REINDEX INDEX CONCURRENTLY {one['target']}"]
    assert told(result)["item_pkey"][0] == "skipped"
    assert "INSERT ... ON CONFLICT fails now and then" in told(result)["item_pkey"][1]
    assert told(result)["by_range"] == ("unchanged", "BRIN indexes do not bloat") or "by_range" not in told(result)
    again = reindex(each)
    assert (again["status"], again["changed"], done(again)) == ("ok", False, set())
    assert {one["numbers"]["method"] for one in again["actions"] if one["outcome"] == "unchanged" and one["numbers"].get("method")
            } == {"baseline"}  # fmt: skip
    assert sizes(each) == after
    assert done(reindex(each, unique=True)) == {"item_pkey"}


def test_each_method_says_about_the_same(each: Database) -> None:
    each.sql("CREATE EXTENSION pgstattuple")
    each.sql("CREATE INDEX by_grown ON item (code)")
    each.sql("INSERT INTO item SELECT i, i, 'Item ' || i, md5(i::text)::uuid FROM generate_series(100001, 140000) AS i")
    analyze(each)
    for _turn in range(2):
        exact, estimate = (
            {
                one["target"]: one["numbers"]
                for one in reindex(each, check=True, method=method, history=False)["actions"]
            }
            for method in ("exact", "estimate")
        )
        compared = 0
        for target, numbers in exact.items():
            if "bloat" in numbers and "bloat" in estimate[target]:
                compared += 1
                assert abs(numbers["bloat"] - estimate[target]["bloat"]) < 0.06, target
        assert compared == 5, "the primary key, by_code, by_code_70, by_both and by_grown"
        delete(each)


ONCE = "no number: equal keys may be stored once (deduplication), and statistics do not say how many combinations there are"
NO_NUMBER = {
    "by_grp": ONCE,
    "by_spare": ONCE,
    "by_lower": "no number: statistics of its table say nothing about the size of an index over expressions",
    "by_part": "no number: statistics of its table say nothing about the size of a partial index",
    "by_tags": "no number: statistics say nothing about the size of an index of type gin",
    "by_place": "no number: statistics say nothing about the size of an index of type gist",
    "by_hash": "no number: statistics say nothing about the size of an index of type hash",
}


def test_where_statistics_say_nothing_there_is_no_number(database: Database) -> None:
    delete(database)
    found = told(reindex(database, check=True, method="estimate"))
    assert {name: reason for name, (_outcome, reason) in found.items() if reason.startswith("no number")} == NO_NUMBER
    database.sql(
        "CREATE TABLE n AS SELECT i::text::name AS name, repeat(md5(i::text), 20) AS wide FROM generate_series(1, 9999) AS i"
    )
    database.sql("CREATE INDEX by_name ON n (name); CREATE INDEX by_wide ON n (wide)")
    database.sql("CREATE INDEX by_off ON item (grp) WITH (deduplicate_items = off)")
    never = ("no number: nobody knows what has changed since the last analyze: there was none, or statistics were reset or "
             "restored")  # fmt: skip
    assert {reason for _outcome, reason in told(reindex(database, check=True, tables=["n"])).values()} == {never}
    analyze(database, "n")
    found = told(reindex(database, check=True, tables=["n"]))
    assert found["by_name"][1] == "no number: name is stored there in another form than in the table"
    assert found["by_wide"][1] == (
        "no number: its keys are so wide that they may be compressed, and statistics do not say how much"
    )
    assert told(reindex(database, check=True))["by_off"][1].startswith("0 % bloat (estimate")
    database.sql("CREATE TABLE far (long text, short varchar(50)); ALTER TABLE far ALTER long SET STORAGE EXTERNAL")
    database.sql("INSERT INTO far SELECT string_agg(md5(i::text || j), ''), i FROM generate_series(1, 300) AS i, "
                 "generate_series(1, 70) AS j GROUP BY i")  # fmt: skip
    database.sql("CREATE INDEX by_long ON far (long); CREATE INDEX by_short ON far (short)")
    analyze(database, "far")
    found = told(reindex(database, check=True, tables=["far"], min_size=0))
    assert "may be stored out of line (TOAST)" in found["by_long"][1], "it would be 99 % bloat"
    assert found["by_short"][1].startswith("0 % bloat (estimate")
    database.sql("UPDATE item SET grp = grp + 1 WHERE id % 3 = 0")
    counted(database)
    assert (
        "changed since the last analyze, which makes its numbers worthless"
        in told(reindex(database, check=True))["by_code"][1]
    )
    analyze(database)
    database.sql("SELECT pg_stat_reset()")
    found = told(reindex(database, check=True))
    assert {reason for name, (_outcome, reason) in found.items() if name in NO_NUMBER or name == "by_code"} == {never}


def test_statistics_that_the_role_does_not_see(database: Database) -> None:
    delete(database)
    role = database.role()
    database.sql(f"GRANT MAINTAIN ON item TO {role}; GRANT SELECT (id, label) ON item TO {role}")
    found = told(reindex(database, check=True, user=role, history=False))
    assert found["by_code"][1] == ("no number: this role does not see the statistics of public.item: GRANT SELECT (code) ON "
                                   "public.item, or row-level security hides them")  # fmt: skip
    database.sql(f"GRANT SELECT ON item TO {role}")
    assert done(reindex(database, check=True, user=role, history=False)) == {"by_code", "by_code_70", "by_both"}
    database.sql("ALTER TABLE item ENABLE ROW LEVEL SECURITY")
    assert done(reindex(database, check=True, user=role, history=False)) == set()


@pytest.mark.parametrize("schema", ["public", "Odd.schema"])
def test_whether_it_may_be_measured(database: Database, schema: str) -> None:
    delete(database)
    database.sql(f'CREATE SCHEMA IF NOT EXISTS "{schema}"; CREATE EXTENSION pgstattuple SCHEMA "{schema}"')
    role = database.role()
    database.sql(f"GRANT MAINTAIN ON item TO {role}")
    assert done(reindex(database, check=True, user=role, history=False)) == set()
    database.sql(f'GRANT pg_stat_scan_tables TO {role}; GRANT USAGE ON SCHEMA "{schema}" TO {role}')
    assert done(reindex(database, check=True, user=role, history=False)) == set(BTREES)
    assert told(reindex(database, check=True, user=role, history=False, exact_limit=0))["by_lower"][1].startswith(
        "no number"
    )


def test_what_cannot_be_measured_keeps_nothing_else_from_it(database: Database) -> None:
    """One that is gone by now costs a few turns more; when half of the time is over, estimates have to do."""
    database.sql("CREATE EXTENSION pgstattuple")
    delete(database)
    oids = [oid for (oid,) in database.sql("SELECT indexrelid::bigint FROM pg_index WHERE indexrelid::regclass::text = ANY (%s)",
                                           [list(BTREES)])]  # fmt: skip
    connection = ConnectionOptions.read(database.dsn, "require", 60, "", "refuse")
    with closing(open_session(connection, "test", 60)) as session:
        found = measure._rows_of(session, LEAVES, Identifier("public"), [oids[0], 1, *oids[1:], 2])
        assert sorted(found) == sorted(oids)
        options = operation.read({**SMALL, "tables": ["item"], "method": "auto"})
        for left, method in ((100.0, "exact"), (0.0, "estimate")):
            clock = iter([100.0, *[left] * 100])
            context = Context(check=True, seconds_left=lambda clock=clock: next(clock))  # type: ignore[misc]
            facts = operation.facts(session, options, context)
            methods = {one.index.name: one.bloat.method for one in facts.indexes if one.bloat is not None}
            assert methods["by_code"] == method
            assert ("by_lower" in methods) == (method == "exact")


def test_analyze_shows_that_it_is_not_bloated_after_all(database: Database) -> None:
    database.sql("INSERT INTO item SELECT i FROM generate_series(50001, 50100) AS i")
    counted(database)
    database.sql("UPDATE pg_class SET reltuples = reltuples / 3 WHERE relname IN ('item', 'by_code')")
    (planned,) = reindex(database, check=True, indexes=["by_code"])["actions"]
    assert planned["statements"] == ["ANALYZE public.item", "REINDEX INDEX CONCURRENTLY public.by_code"]
    assert planned["numbers"]["method"] == "estimate"
    file = database.value("SELECT relfilenode FROM pg_class WHERE relname = 'by_code'")
    result = reindex(database, indexes=["by_code"])
    (action,) = result["actions"]
    assert (action["outcome"], action["changed"]) == ("unchanged", True), "statistics were changed"
    assert action["reason"].startswith("after ANALYZE it has 0 % bloat (estimate")
    assert database.value("SELECT relfilenode FROM pg_class WHERE relname = 'by_code'") == file
    again = reindex(database, indexes=["by_code"])
    assert (again["totals"], again["changed"]) == ({"unchanged": 1}, False)


def test_nothing_is_done_to_what_was_just_loaded_or_copied(server: Server) -> None:
    """Statistics of a copy are there, but nobody has counted what has changed since; after a load there are none."""
    source = server.create_database()
    source.sql("CREATE EXTENSION pgstattuple")
    load(source)
    loaded = "CREATE TABLE loaded AS SELECT i AS id, md5(i::text) AS code FROM generate_series(1, 20000) AS i"
    source.sql(f"{loaded}; CREATE INDEX loaded_id ON loaded (id); CREATE INDEX loaded_code ON loaded (code)")
    source.close_connection()
    copy = server.create_database(source.name)
    try:
        for database in (source, copy):
            for extension in (True, False):
                if not extension:
                    database.sql("DROP EXTENSION pgstattuple")
                result = reindex(database, include=["*"], tables=None, bloat=0.1, unique=True)
                assert (result["changed"], result["status"]) == (False, "ok"), told(result)
    finally:
        copy.close()
        source.close()


def test_an_index_without_rows_is_nothing_but_bloat(database: Database) -> None:
    for statement in ("DELETE FROM item", "VACUUM ANALYZE item"):
        database.sql(statement)
        counted(database)
    result = reindex(database)
    empty = {name for name, outcome in outcomes(result).items() if outcome == "done"}
    assert {*BTREES, "by_hash"} <= empty, told(result)
    assert max(sizes(database)[name] for name in empty) <= 10 * 8192
    assert reindex(database)["changed"] is False


def test_compared_with_its_own_past(database: Database) -> None:
    others = {"by_tags", "by_place", "by_hash", "by_grp", "by_spare", "by_lower", "by_part"}
    assert done(reindex(database)) == set()
    delete(database)
    result = reindex(database, bloat=0.3, exclude=["*.item_pkey"], include=["public.item"], tables=None)
    by_baseline = {
        one["target"].partition(".")[2] for one in result["actions"] if one["numbers"].get("method") == "baseline"
    }
    assert by_baseline == others
    assert others - {"by_hash"} <= done(result), told(result)
    assert done(reindex(database, bloat=0.3)) == set()
    basis = database.sql(
        "SELECT value ->> 'basis' FROM maintenance.state WHERE target IN ('public.by_lower', 'public.by_tags')"
    )
    assert basis == [("rebuilt",), ("rebuilt",)]
    delete(database)


def test_a_method_that_was_wrong_is_not_believed_again(database: Database) -> None:
    reindex(database)
    # As if it had been three times as small once
    database.sql("UPDATE maintenance.state SET value = value || jsonb_build_object('best', (value ->> 'best')::float / 3, "
                 "'basis', 'rebuilt') WHERE target = 'public.by_lower'")  # fmt: skip
    result = reindex(database)
    assert done(result) == {"by_lower"}
    assert "0 B won" in told(result)["by_lower"][1] or "-" in told(result)["by_lower"][1]
    database.sql("UPDATE maintenance.state SET value = value || jsonb_build_object('best', (value ->> 'best')::float / 3) "
                 "WHERE target = 'public.by_lower'")  # fmt: skip
    again = told(reindex(database))["by_lower"]
    assert again[0] == "unchanged"
    assert "not" in again[1]
    doubted = "SELECT value -> 'doubted' FROM maintenance.state WHERE target = 'public.by_lower'"
    assert database.value(doubted) == {"baseline": 7}, "of eight runs one is over"


def test_what_is_not_valid_is_repaired_and_hopeless_ones_are_left_alone(database: Database) -> None:
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_code'::regclass")
    assert reindex(database, indexes=["by_code"], min_size="1G")["totals"] == {"done": 1}
    assert database.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_code'::regclass")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        database.sql("CREATE UNIQUE INDEX CONCURRENTLY hopeless ON item (grp)")
    told_of = [told(reindex(database, unique=True))["hopeless"] for _run in range(5)]
    assert [outcome for outcome, _reason in told_of] == ["failed", "failed", "skipped", "skipped", "failed"]
    assert "remove the duplicates first" in told_of[0][1]
    assert told_of[1][1].endswith("(2 times in a row)")
    assert "2 rebuilds in a row have failed" in told_of[2][1]
    assert "left out of 2 more runs" in told_of[2][1]
    assert "left out of 1 more run," in told_of[3][1]
    assert told(reindex(database, unique=True))["hopeless"][0] == "skipped"
    assert reindex(database, unique=True, indexes=["hopeless"])["totals"] == {"failed": 1}, "named, it is tried again"
    database.sql("DELETE FROM item WHERE id > 9")
    assert reindex(database, unique=True, indexes=["hopeless"])["totals"] == {"done": 1}
    left = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert database.value(left) == 0


def test_collations_of_another_version(database: Database) -> None:
    database.sql("CREATE COLLATION coll (provider = builtin, locale = 'C.UTF-8')")
    database.sql("CREATE INDEX by_coll ON item (label COLLATE coll)")
    database.sql("CREATE INDEX by_expression ON item ((label COLLATE coll > 'a')); CREATE INDEX coll_hash ON item USING hash "
             "(label COLLATE coll)")  # fmt: skip
    database.sql("UPDATE pg_collation SET collversion = '0' WHERE collname = 'coll'")
    depend = {"by_coll", "by_expression"}
    assert told(reindex(database, check=True))["by_coll"][1].startswith("the collation public.coll has version ")
    assert outcomes(reindex(database, history=False))["by_coll"] == "skipped", "nobody would know of it the next time"
    assert done(reindex(database)) == depend
    again = reindex(database)
    assert done(again) == set(), "once is enough"
    (advice,) = again["warnings"]
    assert advice.endswith("If there are no others: ALTER COLLATION public.coll REFRESH VERSION")
    database.sql("ALTER COLLATION public.coll REFRESH VERSION")
    assert reindex(database)["warnings"] == []
    database.sql("UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()")
    actual = database.value(
        "SELECT pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = current_database()"
    )
    expected = {"by_both", "by_spare", "by_lower"} if actual else set()
    assert done(reindex(database)) == expected
    assert done(reindex(database)) == set()


def test_the_thresholds_are_documented() -> None:
    """Default and unit of each, in a table of docs/operations.md."""
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("\n## Reindex\n")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| `(\w+)` \| (\w[\w.]*) \| \w", section, re.MULTILINE))
    known = {**THRESHOLDS, "min_size": SPEC.options["min_size"], "max_size": SPEC.options["max_size"]}
    words = {"False": "no", "None": "none"}
    defaults = {name: str(how.get("default")) for name, how in known.items()}
    assert {name: words.get(default, default) for name, default in defaults.items()} == {
        name: table.get(name) for name in known
    }
    methods = re.findall(r"^\| `(\w+)` \| \S.* \| (?:high|medium)", section, re.MULTILINE)
    assert tuple(methods) == METHODS
