# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""index_info on indexes that were made on purpose: each is of one class, and what makes a difference makes one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import validated
from ansible_collections.vtchat.maintenance.plugins.module_utils._errors import OptionError
from tests.indexes import finding, found, review
from tests.runs import perform
from tests.servers import Database, Server
from tests.tables import held, write

TABLE = "(id int, a int, b text, c varchar, d int[], e tsvector, r int4range)"
# The definitions of two indexes of a table, and what becomes of the first one; "second" where it is the other.
PAIRS: list[tuple[str, str, str]] = [
    ("INDEX {} (a)", "INDEX {} (a)", "second duplicate-index"),
    ("INDEX {} (a)", "UNIQUE INDEX {} (a)", "duplicate-index"),
    ("INDEX {} (a)", "INDEX {} (a, b)", "redundant-index"),
    ("INDEX {} (a)", "INDEX {} (b, a)", ""),
    ("INDEX {} (a)", "INDEX {} (a) INCLUDE (b)", "redundant-index"),
    ("INDEX {} (a) INCLUDE (b)", "INDEX {} (a, b)", "redundant-index"),
    ("INDEX {} (a) INCLUDE (b, c)", "INDEX {} (a, b)", ""),
    ("INDEX {} (a) INCLUDE (b, c)", "INDEX {} (a) INCLUDE (c, b)", "second duplicate-index"),
    ("INDEX {} (a DESC)", "INDEX {} (a)", ""),
    ("INDEX {} (a NULLS FIRST)", "INDEX {} (a)", ""),
    ("INDEX {} (a, b DESC)", "INDEX {} (a, b)", ""),
    ("INDEX {} (a) WHERE a > 3", "INDEX {} (a)", ""),
    ("INDEX {} (a) WHERE a > 3", "INDEX {} (a, b) WHERE (a > 3)", "redundant-index"),
    ("INDEX {} (a) WHERE a > 3", "INDEX {} (a, b) WHERE a > 4", ""),
    ("INDEX {} (b)", 'INDEX {} (b COLLATE "C")', ""),
    ("INDEX {} (b)", "INDEX {} (b text_pattern_ops)", ""),
    ("INDEX {} (c)", "INDEX {} (c varchar_ops)", "second duplicate-index"),
    ("INDEX {} (lower(b))", "INDEX {} (lower(b), a)", "redundant-index"),
    ("INDEX {} (lower(b))", "INDEX {} (upper(b))", ""),
    ("INDEX {} (b)", "INDEX {} (lower(b))", ""),
    ("INDEX {} USING hash (a)", "INDEX {} (a)", ""),
    ("INDEX {} USING hash (a)", "INDEX {} USING hash (a)", "second duplicate-index"),
    ("INDEX {} USING gin (d)", "INDEX {} USING gin (d, e)", ""),
    ("INDEX {} USING gist (e)", "INDEX {} USING gist (e)", "second duplicate-index"),
    ("INDEX {} USING gist (e)", "INDEX {} USING gist (e tsvector_ops(siglen=100))", ""),
    ("INDEX {} USING brin (a)", "INDEX {} USING brin (a int4_minmax_multi_ops)", ""),
    ("UNIQUE INDEX {} (a)", "UNIQUE INDEX {} (a, b)", ""),
    ("UNIQUE INDEX {} (a)", "UNIQUE INDEX {} (a)", "second duplicate-index"),
    ("UNIQUE INDEX {} (a)", "UNIQUE INDEX {} (a) NULLS NOT DISTINCT", ""),
    ("UNIQUE INDEX {} (a)", "UNIQUE INDEX {} (a) WHERE a > 0", ""),
    ("UNIQUE INDEX {} (a)", "UNIQUE INDEX {} (a) INCLUDE (b)", "redundant-index"),
    ("INDEX {} (a) WITH (fillfactor = 70)", "INDEX {} (a)", "second duplicate-index"),
]  # fmt: skip
SUPERFLUOUS = "duplicate-index", "redundant-index"


def pairs(database: Database) -> dict[str, str]:
    """All pairs, each on a table of its own; what is to be said of which index."""
    expected = {}
    for number, (first, second, said) in enumerate(PAIRS):
        one, other = (
            f"CREATE {text.format(f'i{number}_{which} ON t{number}')}" for which, text in enumerate((first, second))
        )
        database.sql(f"CREATE TABLE t{number} {TABLE}; {one}; {other}")
        if said:
            expected[f"public.i{number}_{int(said.startswith('second'))}"] = said.removeprefix("second ")
    return expected


def test_what_makes_two_indexes_the_same(database: Database) -> None:
    expected = pairs(database)
    result = review(database)
    assert found(result, *SUPERFLUOUS) == expected
    one = finding(result, "public.i0_1")
    assert (one["level"], one["advice"]) == ("info", "DROP INDEX CONCURRENTLY public.i0_1")
    assert one["message"] == "public.i0_0 has the same columns and does all that it does"
    assert one["evidence"]["confidence"] == "high"
    assert one["evidence"]["undo"] == ["CREATE INDEX CONCURRENTLY i0_1 ON public.t0 USING btree (a)"]
    # Nothing is said of what patterns do not choose, and small ones are no warning.
    assert set(found(review(database, include=["public.t[01]"]), *SUPERFLUOUS)) == {"public.i0_1", "public.i1_0"}
    assert "public.i0_1" not in found(review(database, exclude=["*.i0_1"]))
    assert not found(review(database, min_size=1 << 20))
    (warning,) = review(database, include=["nobody.*"])["warnings"]
    assert "no table matches nobody.*" in warning


def test_a_large_one_is_a_warning(database: Database) -> None:
    database.sql("CREATE TABLE t (a int); CREATE INDEX one ON t (a); CREATE INDEX two ON t (a)")
    database.sql("INSERT INTO t SELECT generate_series(1, 60000)")
    result = review(database)
    one = finding(result, "public.two")
    assert (one["level"], one["value"], one["group"]) == (
        "warning",
        database.value("SELECT pg_relation_size('two')"),
        "indexes",
    )
    assert result["actions"][0]["reason"].startswith("1 duplicate; 1.")


KEPT = """
CREATE TABLE p (id int PRIMARY KEY, k int UNIQUE, x int, y int NOT NULL, z int, EXCLUDE USING btree (z WITH =));
CREATE UNIQUE INDEX p_x ON p (x); CREATE UNIQUE INDEX p_x_longer ON p (x) INCLUDE (z);
CREATE UNIQUE INDEX p_y ON p (y); CREATE UNIQUE INDEX p_y_longer ON p (y) INCLUDE (z);
CREATE INDEX p_z ON p (z); CREATE INDEX p_z_longer ON p (z, id); CREATE INDEX p_k ON p (k, id);
CREATE TABLE child (x int REFERENCES p (x));
ALTER TABLE p REPLICA IDENTITY USING INDEX p_y;
ALTER TABLE p ADD CONSTRAINT twin UNIQUE (k) DEFERRABLE;
ALTER TABLE p ADD CONSTRAINT same UNIQUE (id);
CREATE TABLE s (id int, a int) PARTITION BY RANGE (id);
CREATE TABLE s1 PARTITION OF s FOR VALUES FROM (0) TO (10);
CREATE INDEX s_a ON s (a); CREATE INDEX s1_longer ON s1 (a, id);
"""


def test_what_must_stay(database: Database) -> None:
    """Constraints, what foreign keys and replication go by, parts of partitioned indexes, what belongs to an extension."""
    database.sql(KEPT)
    database.sql("CREATE TABLE e (a int); CREATE INDEX e1 ON e (a); CREATE INDEX e2 ON e (a)")
    database.sql("CREATE EXTENSION pageinspect; ALTER EXTENSION pageinspect ADD TABLE e")
    result = review(database, unused_after="0")
    twins = dict.fromkeys(("public.p_z", "public.twin", "public.same"), "duplicate-index")
    assert found(result, *SUPERFLUOUS) == twins
    same = finding(result, "public.same")
    assert same["advice"] == "ALTER TABLE public.p DROP CONSTRAINT same"
    assert "drop" not in same["evidence"]
    unused = found(result, "unused-index")
    assert set(unused) == {"public.p_k", "public.p_z_longer", "public.s_a", "public.s1_longer"}


def test_indexes_that_are_not_valid(database: Database) -> None:
    database.sql("""
        CREATE TABLE t (id int PRIMARY KEY, a int, b int); CREATE INDEX broken ON t (b);
        CREATE INDEX t_a ON t (a); CREATE INDEX t_a_ccnew ON t (a); CREATE INDEX t_b_ccnew ON t (a, b);
        CREATE TABLE s (a int) PARTITION BY RANGE (a); CREATE TABLE s1 PARTITION OF s FOR VALUES FROM (0) TO (10);
        CREATE INDEX s_a ON ONLY s (a);
        UPDATE pg_index SET indisvalid = false
        WHERE indexrelid IN ('broken'::regclass, 't_a_ccnew'::regclass, 't_b_ccnew'::regclass)
    """)  # fmt: skip
    result = review(database)
    assert set(found(result, "invalid-index")) == {
        "public.broken",
        "public.t_a_ccnew",
        "public.t_b_ccnew",
        "public.s_a",
    }
    assert found(result, *SUPERFLUOUS) == {}, "what is not valid is neither a twin nor covers anything"
    assert "an interrupted rebuild of public.t_a has left it" in finding(result, "public.t_a_ccnew")["message"]
    assert finding(result, "public.broken")["advice"].startswith("REINDEX INDEX CONCURRENTLY public.broken")
    assert "drop" not in finding(result, "public.t_b_ccnew")["evidence"], "it is no copy of any index"
    with held(database, "LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE"):
        assert set(found(review(database), "invalid-index")) == {"public.s_a"}, "somebody may be building it"


FOREIGN = """
CREATE TABLE p (id int PRIMARY KEY, a int, b int, UNIQUE (a, b));
CREATE TABLE nothing (p int CONSTRAINT k REFERENCES p);
CREATE TABLE plain (p int CONSTRAINT k REFERENCES p); CREATE INDEX ON plain (p, p);
CREATE TABLE second (x int, p int CONSTRAINT k REFERENCES p); CREATE INDEX ON second (x, p);
CREATE TABLE hashed (p int CONSTRAINT k REFERENCES p); CREATE INDEX ON hashed USING hash (p);
CREATE TABLE ranges (p int CONSTRAINT k REFERENCES p); CREATE INDEX ON ranges USING brin (p);
CREATE TABLE present ("P p" int CONSTRAINT k REFERENCES p); CREATE INDEX ON present ("P p") WHERE "P p" IS NOT NULL;
CREATE TABLE few (p int CONSTRAINT k REFERENCES p); CREATE INDEX ON few (p) WHERE p > 3;
CREATE TABLE turned (a int, b int, x int, CONSTRAINT k FOREIGN KEY (a, b) REFERENCES p (a, b)); CREATE INDEX ON turned (b, a, x);
CREATE TABLE partly (a int, b int, CONSTRAINT k FOREIGN KEY (a, b) REFERENCES p (a, b)); CREATE INDEX partly_b ON partly (b);
CREATE TABLE invalid (p int CONSTRAINT k REFERENCES p); CREATE INDEX not_valid ON invalid (p);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'not_valid'::regclass;
CREATE TABLE parts (id int, p int CONSTRAINT k REFERENCES p) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE INDEX ON parts1 (p);
CREATE TABLE whole (id int, p int CONSTRAINT k REFERENCES p) PARTITION BY RANGE (id);
CREATE TABLE whole1 PARTITION OF whole FOR VALUES FROM (0) TO (10); CREATE INDEX ON whole (p);
CREATE TABLE to_parts (id int CONSTRAINT k REFERENCES target (id))
"""


def test_foreign_keys_without_an_index(database: Database) -> None:
    target = """CREATE TABLE target (id int PRIMARY KEY) PARTITION BY RANGE (id);
                CREATE TABLE target1 PARTITION OF target FOR VALUES FROM (0) TO (10);
                CREATE TABLE target2 PARTITION OF target FOR VALUES FROM (10) TO (20);"""
    database.sql(target + FOREIGN)
    result = review(database)
    lacking = ["nothing", "second", "ranges", "few", "partly", "invalid", "parts", "to_parts"]
    assert set(found(result, "foreign-key-without-index")) == {f"public.{name} k" for name in lacking}
    write(database, "INSERT INTO target VALUES (3)", "DELETE FROM target")
    assert finding(review(database), "public.to_parts k")["evidence"]["deleted"] == 1
    one = finding(result, "public.parts k")
    assert one["advice"].startswith("CREATE INDEX ON public.parts (p)")
    assert finding(result, "public.nothing k")["advice"].startswith("CREATE INDEX CONCURRENTLY ON public.nothing (p)")
    assert "public.partly_b has a part of it" in finding(result, "public.partly k")["message"]
    unused = set(found(review(database, unused_after="0"), "unused-index"))
    assert unused == {"public.second_x_p_idx", "public.ranges_p_idx", "public.few_p_idx", "public.partly_b"}, (
        "others serve keys"
    )
    database.sql("INSERT INTO p VALUES (1, 1, 1)")
    for name, values in (("nothing", "1"), ("partly", "1, 1")):
        database.sql(f"ALTER TABLE {name} ADD wide text; ALTER TABLE {name} ALTER wide SET STORAGE PLAIN")
        database.sql(f"INSERT INTO {name} SELECT {values}, repeat('x', 8000) FROM generate_series(1, 1400)")
    again = review(database)
    assert [finding(again, f"public.{name} k")["level"] for name in ("nothing", "partly")] == ["warning", "info"]


def test_hints_and_bloat(database: Database) -> None:
    database.sql("""
        CREATE TABLE b (gone int); CREATE INDEX bloated ON b (gone);
        INSERT INTO b SELECT generate_series(1, 500000); DELETE FROM b WHERE gone % 10 <> 0;
        CREATE TABLE t (few int, many int, rare int); CREATE INDEX few_many ON t (few, many); CREATE INDEX many ON t (many);
        CREATE INDEX rare ON t (rare); CREATE INDEX present ON t (rare) WHERE rare IS NOT NULL; CREATE INDEX too_few ON t (few);
        INSERT INTO t SELECT n % 5, n, CASE WHEN n % 10 = 0 THEN n END FROM generate_series(1, 5000) AS n
    """)
    database.sql("SELECT pg_stat_force_next_flush()")  # or what comes before ANALYZE would be counted after it
    database.sql("VACUUM b")
    database.sql("ANALYZE")
    result = review(database)
    classes = {
        "bloated": "bloated-index",
        "many": "skip-scan-index",
        "rare": "mostly-null-index",
        "too_few": "redundant-index",
    }
    assert found(result) == {f"public.{name}": said for name, said in classes.items()}
    bloated = finding(result, "public.bloated")
    assert (bloated["level"], bloated["evidence"]["method"], bloated["evidence"]["bloat"] > 0.8) == (
        "warning",
        "estimate",
        True,
    )
    rare = finding(result, "public.rare")
    assert (rare["level"], rare["evidence"]["null_share"]) == ("info", 0.9)
    assert "WHERE rare IS NOT NULL" in rare["advice"]


def test_what_is_locked_is_left_out_and_nobody_waits(database: Database) -> None:
    database.sql("CREATE TABLE t (a int); CREATE INDEX one ON t (a); CREATE INDEX two ON t (a) WHERE a > 3")
    database.sql("CREATE TABLE u (a int); CREATE INDEX three ON u (a); CREATE INDEX four ON u (a)")
    with held(database, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"):
        result = review(database)
    assert found(result, *SUPERFLUOUS) == {"public.four": "duplicate-index"}
    assert "1 of the tables and indexes are locked as a whole, and left out" in result["warnings"][0]


def test_without_any_right(database: Database) -> None:
    expected = pairs(database)
    nobody = database.dsn_as(database.role("nobody"))
    database.sql("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    result = review(database, nobody, check=True)
    assert found(result, *SUPERFLUOUS) == expected


def test_on_an_older_server(postgres15: Server) -> None:
    database = postgres15.create_database()
    expected = pairs(database)
    assert found(review(database), *SUPERFLUOUS) == expected
    database.sql(
        "DROP TABLE t0, t1, t2; CREATE TABLE k (a int, b int); CREATE INDEX k_ab ON k (a, b); CREATE INDEX k_b ON k (b)"
    )
    database.sql("INSERT INTO k SELECT 1, n FROM generate_series(1, 999) AS n; ANALYZE")
    assert "public.k_b" not in found(review(database)), "it has no skip scan"
    database.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unused_after": "a while"}, "unused_after: 'a while' is not an age"),
        ({"include": []}, "include: give at least one pattern"),
        ({"exclude": [""]}, "exclude: an empty pattern leaves nothing out"),
        ({"undo_script": "undo.sql"}, "undo_script: it undoes what drop_script does, and there is no drop_script"),
        ({"drop_script": "reports/"}, "drop_script: 'reports/' is no file"),
        ({"drop_script": "indexes.sql"}, "undo_script: say where it is to be"),
        (
            {"drop_script": "drop.sql", "undo_script": "./drop.sql"},
            "undo_script: './drop.sql' is no file beside drop_script",
        ),
        ({"replicas": ["host=replica.internal password=geh/eim user"]}, "replicas[1]: it is neither a URL"),
        ({"replicas": [" "]}, "replicas[1]: it is empty"),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    for name, given in (("index_info", options), ("run", {"plan": "p", "steps": [{"index_info": options}]})):
        with pytest.raises(OptionError) as caught:
            validated(name, {"dsn": "", **given})
        assert said in str(caught.value)
        assert "geh" not in str(caught.value)


def test_what_a_step_hides_is_masked_in_faults_of_other_options() -> None:
    secret = "postgresql://u:geheim-und-lang@h/d"
    step = {"index_info": {"replicas": [secret], "drop_script": f"{secret}/"}}
    with pytest.raises(OptionError) as caught:
        validated("run", {"dsn": "", "plan": "p", "steps": [step]})
    assert ("drop_script" in str(caught.value), "geheim" in str(caught.value)) == (True, False)


def test_a_script_that_would_have_to_be_masked_is_not_written(database: Database) -> None:
    database.sql("CREATE TABLE t (a int); CREATE INDEX one ON t (a); CREATE INDEX geheim_und_zu_lang_9 ON t (a)")
    dsn = f"{database.dsn} password=geheim_und_zu_lang_9"
    result = review(database, dsn, drop_script="drop.sql")
    assert "files" not in result
    assert "drop.sql and undo.sql: not written" in result["warnings"][0]


def test_it_is_in_the_history(database: Database) -> None:
    database.sql("CREATE TABLE t (a int); CREATE INDEX one ON t (a); CREATE INDEX two ON t (a)")
    perform("analyze", database.dsn, tables=["t"])
    review(database)
    (kept,) = database.sql(
        "SELECT subject, evidence ->> 'drop' FROM maintenance.finding WHERE name = 'duplicate-index'"
    )
    assert kept == ("public.two", "DROP INDEX CONCURRENTLY public.two")
