# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of indexes: each illness is made on purpose, its check alone speaks, and what it says mends it."""

from __future__ import annotations

import re

import pytest

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import large_indexes
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.index_definition import working_name
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import metrics
from tests.health import bad, levels, look, of
from tests.indexes import finding, review
from tests.runs import perform, until
from tests.servers import Database
from tests.tables import held, write

# More than 10 MiB of an index.
ROWS = 600_000
LARGE = f"""
CREATE TABLE t (a int, b int); INSERT INTO t SELECT n, n FROM generate_series(1, {ROWS}) AS n;
CREATE INDEX one ON t (a); ANALYZE t
"""
OURS = {
    "invalid-indexes",
    "index-leftovers",
    "duplicate-indexes",
    "unused-indexes",
    "foreign-keys-without-index",
    "index-bloat",
}


def told(database: Database, check: str, advice: str) -> str:
    """That this check alone speaks, about one subject, and what it says; its first statement is done, and it is quiet again."""
    result = look(database)
    assert bad(result) == {check: "warning"}, result["findings"]
    (one,) = of(result, check)
    assert one["advice"].startswith(advice)
    assert one["meaning"]
    database.sql(advice)
    assert bad(look(database)) == {}
    return f"{one['subject']}: {one['message']}"


def test_small_ones_are_nobody_s_trouble(database: Database) -> None:
    database.sql("""
        CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (p int REFERENCES p); CREATE INDEX one ON c (p, (1));
        CREATE INDEX two ON c ((1)); CREATE INDEX three ON c ((1)); INSERT INTO p SELECT generate_series(1, 100); DELETE FROM p
    """)
    result = look(database)
    assert bad(result) == {}
    assert {
        name: level for name, level in levels(result).items() if name in OURS - {"unused-indexes"}
    } == dict.fromkeys(OURS - {"unused-indexes"}, "info")


def test_not_valid_and_left_over(database: Database) -> None:
    database.sql("CREATE TABLE t (a int, b int); CREATE INDEX one ON t (a); CREATE UNIQUE INDEX gone ON t (b)")
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'gone'::regclass")
    with held(database, "LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE"):
        assert bad(look(database)) == {}
    with held(database, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"):
        assert bad(look(database)) == {}, "nobody waits for its size"
    said = told(database, "invalid-indexes", "REINDEX INDEX CONCURRENTLY public.gone")
    assert said == "public.gone: it is not valid: it costs writes and serves nobody, and enforces nothing"
    long = "i" * 62
    database.sql(
        f"CREATE INDEX {long} ON t (b, a); CREATE INDEX {long[:57]}_ccnew ON t (b, a); CREATE INDEX one_ccold1 ON t (a)"
    )
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid::regclass::text ~ '_cc'")
    result = look(database)
    assert bad(result) == {"index-leftovers": "warning"}
    assert len(of(result, "index-leftovers")) == 2
    database.sql(f"DROP INDEX {long[:57]}_ccnew")
    ours = working_name("wanted")
    database.sql(
        f"CREATE INDEX {ours} ON t (b); UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{ours}'::regclass"
    )
    (step,) = [one for one in of(look(database), "index-leftovers") if ours in one["subject"]]
    assert step["message"] == "an interrupted step index has left it"
    assert finding(review(database), f"public.{ours}")["advice"].startswith("the step index")
    database.sql(f"DROP INDEX {ours}")
    said = told(database, "index-leftovers", "DROP INDEX CONCURRENTLY public.one_ccold1")
    assert said == "public.one_ccold1: an interrupted rebuild of public.one has left it"


def test_large_ones(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice there, then unused, then bloated."""
    database.sql(LARGE)
    database.sql("CREATE INDEX longer ON t (a, b)")
    said = told(database, "duplicate-indexes", "DROP INDEX CONCURRENTLY public.one")
    assert said == "public.one: public.longer does all that it does"
    perform("analyze", database.dsn, tables=["t"])
    (young,) = of(look(database), "unused-indexes")
    assert (young["level"], "the counters are" in young["message"]) == ("info", True)
    database.sql("UPDATE maintenance.run SET finished_at = finished_at - interval '1 h'")
    write(database, "SELECT count(*) FROM t")
    until(lambda: database.value("SELECT now() - stats_reset > '1 s' FROM pg_stat_archiver"))
    with monkeypatch.context() as soon:
        soon.setattr(large_indexes, "UNUSED_AFTER", 1.0)
        said = told(database, "unused-indexes", "DROP INDEX CONCURRENTLY public.longer")
        assert said == "public.longer: it was not used for more than 1.0 s"
        database.sql("CREATE INDEX one ON t (a); ANALYZE t")
        assert bad(look(database)) == {}, "it is younger than any run that is old enough"
    write(database, "DELETE FROM t WHERE a % 10 <> 0")
    database.sql("VACUUM t")
    database.sql("ANALYZE t")
    result = look(database)
    assert bad(result) == {"index-bloat": "warning"}, result["findings"]
    told_to_rules = metrics.document([("db1", result)], [1.0], bloat=True)
    index = 'schemaname="public",relname="t",idxname="one"'
    for name in ("pg_bloat_btree_bloat_pct", "pg_bloat_btree_real_size"):
        assert re.search(rf'{name}{{inventory_host="db1",datname="{database.name}",{index}}} [0-9.]+\n', told_to_rules)
    nobody = database.dsn_as(database.role("nobody"))
    hidden = look(database, nobody)
    (unknown,) = of(hidden, "index-bloat")
    assert (unknown["level"], "GRANT SELECT (a) ON public.t" in unknown["message"]) == ("unknown", True)
    said = told(database, "index-bloat", "REINDEX INDEX CONCURRENTLY public.one")
    assert said.startswith("public.one: about 9")


def test_what_is_large_as_a_whole(database: Database) -> None:
    """No partition is, but all together: the index that goes is that of the partitioned table."""
    database.sql("CREATE TABLE s (a int, b int) PARTITION BY HASH (a)")
    for part in range(2):
        database.sql(f"CREATE TABLE s{part} PARTITION OF s FOR VALUES WITH (MODULUS 2, REMAINDER {part})")
    database.sql(f"INSERT INTO s SELECT n, n FROM generate_series(1, {ROWS}) AS n; ANALYZE s")
    database.sql("CREATE INDEX short ON s (b); CREATE INDEX longer ON s (b, a)")
    said = told(database, "duplicate-indexes", "DROP INDEX public.short")
    assert said == "public.short: public.longer does all that it does"


KEYS = """
CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(1, 9);
CREATE TABLE {0} (p int CONSTRAINT k REFERENCES p, wide text) {1}; ALTER TABLE {0} ALTER wide SET STORAGE PLAIN; {2};
INSERT INTO {0} SELECT 1, repeat('x', 8000) FROM generate_series(1, 1400); ANALYZE
"""
PARTS = """
CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) TO (2); CREATE TABLE c2 PARTITION OF c FOR VALUES FROM (2) TO (4);
ALTER TABLE c1 ALTER wide SET STORAGE PLAIN; CREATE INDEX ON c2 (p)
"""


@pytest.mark.parametrize("parts", [False, True], ids=["table", "partitions"])
def test_foreign_keys(database: Database, parts: bool) -> None:
    database.sql(KEYS.format("c", *(("PARTITION BY RANGE (p)", PARTS) if parts else ("", ""))))
    assert bad(look(database)) == {}, "nobody has deleted from the other table yet"
    write(database, "DELETE FROM p WHERE id = 9")
    advice = "CREATE INDEX ON public.c (p)" if parts else "CREATE INDEX CONCURRENTLY ON public.c (p)"
    said = told(database, "foreign-keys-without-index", advice)
    assert "public.c k: no index begins with p, and whoever deletes from public.p reads 10.9 MiB" in said
